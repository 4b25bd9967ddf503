//! A simulator as a process of its own, and a client of it.

use std::path::PathBuf;
use std::time::Duration;

use provider_simulator::Line;
use reqwest::Response;
use serde_json::{Value, json};
use servers::{Guarded, Program, StopSignal, free_port, wait_until_healthy};

pub(crate) struct Simulator {
    folder: tempfile::TempDir,
    port: u16,
    process: Guarded,
    client: reqwest::Client,
}

impl Simulator {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let log = folder.path().join("provider.log");
        let process = run(&log, port).await;
        Self { folder, port, process, client: reqwest::Client::new() }
    }

    /// Kills it, and starts it again on the same log.
    pub(crate) async fn kill_and_start(&mut self, between: impl FnOnce(PathBuf)) {
        self.process.kill();
        self.process.ended().await;
        between(self.log_file());
        self.process = run(&self.log_file(), self.port).await;
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.path().join("provider.log")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn post(&self, key: &str, body: &Value) -> reqwest::Result<Response> {
        let request = self.client.post(self.url("/v1/operations")).header("idempotency-key", key).json(body);
        request.timeout(Duration::from_secs(5)).send().await
    }

    /// Status and body of a call that is answered.
    pub(crate) async fn call(&self, key: &str, body: &Value) -> (u16, Value) {
        let answer = self.post(key, body).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn find(&self, key: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(&format!("/v1/operations/{key}"))).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The log, over HTTP; the file says the same.
    pub(crate) async fn log(&self) -> Vec<Line> {
        let text = self.client.get(self.url("/v1/log")).send().await.unwrap().text().await.unwrap();
        assert_eq!(text, std::fs::read_to_string(self.log_file()).unwrap());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn run(log: &std::path::Path, port: u16) -> Guarded {
    let program = Program::new("provider", env!("CARGO_BIN_EXE_provider-simulator"), log.with_extension("out"))
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("LOG_FILE", log)
        .stopped_by(StopSignal::Term, Duration::from_secs(2));
    let process = program.start().unwrap();
    let client = reqwest::Client::new();
    let ready = format!("http://127.0.0.1:{port}/health/ready");
    let ask = || async { client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) };
    wait_until_healthy(&process, Duration::from_secs(20), ask).await.unwrap();
    process
}

/// Keys of one order's operations, as its client makes them.
pub(crate) struct Card(pub(crate) &'static str);

impl Card {
    pub(crate) fn authorize(&self) -> Value {
        json!({ "operation": "authorize", "reference": "order", "amount": eur(1290), "token": self.0 })
    }

    pub(crate) fn then(operation: &str, amount: Option<i64>) -> Value {
        let mut body = json!({ "operation": operation, "reference": "order", "authorization": "a" });
        if let Some(amount) = amount {
            body["amount"] = eur(amount);
        }
        body
    }
}

pub(crate) fn eur(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "EUR" })
}

pub(crate) fn executed(key: &str, amount: i64) -> (u16, Value) {
    (200, json!({ "key": key, "status": "executed", "amount": eur(amount), "fee": null }))
}

/// The answer to a capture: the provider keeps its fee.
pub(crate) fn captured(key: &str, amount: i64, fee: i64) -> (u16, Value) {
    (200, json!({ "key": key, "status": "executed", "amount": eur(amount), "fee": eur(fee) }))
}

pub(crate) fn refused(key: &str, code: &str) -> (u16, Value) {
    (200, json!({ "key": key, "status": "refused", "decline_code": code }))
}
