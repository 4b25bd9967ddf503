//! What operators see is what happened.

use std::sync::OnceLock;

use bson::doc;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{
    relay::{Running, position, relays},
    support::{Arrivals, broker, commit, database, eventually, message},
};

/// What is measured in this process, from the first call on.
pub(crate) fn recorded() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// The value of `series`, name and labels.
pub(crate) fn metric(series: &str) -> Option<f64> {
    let text = recorded().render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn what_the_relay_does_is_told() {
    recorded();
    let (db, broker) = (database().await, broker().await);
    let source = db.name().to_owned();
    let of = |name: &str| metric(&format!("messaging_{name}{{source=\"{source}\"}}"));
    let mut arrivals = Arrivals::of(&broker);
    let relay = Running::start(&db, &broker);
    // Later than that: what was there before is sent as all that the outbox has.
    eventually("it streams", async || (of("relay_streaming") == Some(1.0)).then_some(())).await;
    let put = [message("a"), message("a"), message("b")];
    commit(&db, &put).await;
    arrivals.wait_for(&put).await;
    eventually("it is counted", async || (of("published_total") == Some(3.0)).then_some(())).await;
    assert_eq!(of("generation"), Some(1.0));
    assert_eq!((of("rescans_total"), of("delivery_errors_total")), (Some(0.0), Some(0.0)));
    eventually("the outbox has an age", async || {
        commit(&db, &[message("c")]).await;
        of("outbox_age_seconds").filter(|age| (2.0..7.0).contains(age))
    })
    .await;
    assert!(metric("messaging_oplog_window_seconds").is_some_and(|window| (1.0..1e6).contains(&window)));
    eventually("the outbox is at rest", async || (of("outbox_age_seconds") == Some(0.0)).then_some(())).await;
    eventually("a token is stored", async || position(&db).await.get_document("token").ok().map(drop)).await;
    relay.stop().await;
    assert_eq!(of("relay_streaming"), Some(0.0));

    relays(&db).delete_many(doc! {}).await.unwrap();
    messaging::mongo::prepare(&db).await.unwrap();
    let relay = Running::start(&db, &broker);
    eventually("all is sent again", async || (of("rescans_total") == Some(1.0)).then_some(())).await;
    relay.stop().await;
}
