//! The log outlives a SIGKILL.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use provider_simulator::Line;

use crate::client::{Card, Simulator, executed, refused};

#[tokio::test]
async fn what_was_said_is_still_known_after_a_kill_in_the_middle_of_work() {
    let mut provider = Arc::new(Simulator::start().await);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let provider = Arc::clone(&provider);
        callers.spawn(async move {
            let mut said = Vec::new();
            for number in 0.. {
                let key = format!("{caller}-{number}");
                let Ok(answer) = provider.post(&key, &Card("tok_ok").authorize()).await else { break };
                if answer.json::<serde_json::Value>().await.is_err() {
                    break;
                }
                said.push(key);
            }
            said
        });
    }
    while std::fs::metadata(provider.log_file()).unwrap().len() < 50_000 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    provider.kill();
    let said = callers.join_all().await.concat();
    let provider = Arc::get_mut(&mut provider).unwrap();
    provider.kill_and_start(|_| ()).await;
    let mut executions: BTreeMap<String, u32> = BTreeMap::new();
    for line in provider.log().await {
        if let Line::Executed { key, .. } = line {
            *executions.entry(key).or_default() += 1;
        }
    }
    assert!(said.len() > 50, "only {} calls were answered before the kill", said.len());
    for key in &said {
        assert_eq!(executions.get(key), Some(&1), "{key} was said to be done");
    }
    assert!(executions.values().all(|times| *times == 1));
}

#[tokio::test]
async fn after_a_kill_every_key_has_its_first_result_and_a_torn_line_is_cut_off() {
    let mut provider = Simulator::start().await;
    provider.call("a", &Card("tok_capture_declined").authorize()).await;
    provider.call("c", &Card::then("capture", Some(1290))).await;
    assert_eq!(provider.call("b", &Card("tok_error_lost").authorize()).await.0, 500);
    let whole = provider.log().await;
    let tear = |log| {
        let mut file = OpenOptions::new().append(true).open(log).unwrap();
        file.write_all(br#"{"line":"executed","at":"2026-"#).unwrap();
    };
    provider.kill_and_start(tear).await;
    assert_eq!(provider.log().await, whole);
    assert_eq!(provider.find("c").await, refused("c", "card_declined"));
    assert_eq!(provider.call("c2", &Card::then("capture", Some(1290))).await, refused("c2", "card_declined"));
    assert_eq!(provider.call("v", &Card::then("void", None)).await, executed("v", 1290));
    assert_eq!(provider.call("b", &Card("tok_error_lost").authorize()).await, executed("b", 1290), "lost only once");
}
