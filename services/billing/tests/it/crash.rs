//! Billing dies, with SIGKILL, at every point around every commit of an intent's life, and again while it recovers.
//!
//! It is a process of its own that dies: this test program, run for [`a_process_that_dies`] alone, on the database and the
//! provider of the test that waits for its end.

use std::collections::BTreeSet;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use contracts::Message;
use contracts::billing::BillingCommand;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;
use web::access::Principal;

use crate::bench::{Bench, EAGER, Order, PATIENCE};
use crate::http::Client;

const SIGKILL: i32 = 9;

/// Before anything is stored.
const WRITING: [&str; 2] = ["billing.reader.writing", "billing.refund.writing"];
/// After the intent is stored, before the worker has it.
const WRITTEN: [&str; 2] = ["billing.reader.written", "billing.refund.written"];
/// The worker of a process has taken what another left.
const TAKEN: &str = "billing.settle.taken";
/// The provider is not called yet; was called; its word is not stored yet; is stored, and nobody has heard of what
/// follows from it.
const SETTLING: [&str; 4] =
    ["billing.settle.calling", "billing.settle.called", "billing.settle.booking", "billing.settle.booked"];

/// What is being done to an order when billing dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Authorize,
    Void,
    Capture,
    /// A part of it, once it is invoiced.
    Refund,
    /// All that is left.
    RefundRest,
    /// With a void that waits: the outcome of the first opens the intent of the second.
    AuthorizeAndVoid,
}

impl Deed {
    const ALL: [Self; 6] =
        [Self::Authorize, Self::Void, Self::Capture, Self::Refund, Self::RefundRest, Self::AuthorizeAndVoid];

    fn name(self) -> String {
        format!("{self:?}")
    }

    /// What must have been done before.
    fn before(self, order: &Order) -> Vec<BillingCommand> {
        match self {
            Self::Authorize | Self::AuthorizeAndVoid => vec![],
            Self::Void | Self::Capture => vec![order.authorize()],
            Self::Refund | Self::RefundRest => vec![order.authorize(), order.capture()],
        }
    }

    async fn on(self, order: &Order, bench: &Bench) {
        let commands = match self {
            Self::Authorize => vec![order.authorize()],
            Self::Void => vec![order.void()],
            Self::Capture => vec![order.capture()],
            Self::AuthorizeAndVoid => vec![order.authorize(), order.void()],
            Self::RefundRest => vec![order.refund()],
            Self::Refund => {
                let (path, body) = (
                    format!("/v1/payments/{}/refunds", order.id),
                    json!({ "amount": { "amount": 500, "currency": "EUR" } }),
                );
                let (status, _) = Client::of(bench).post(&path, "refund", &body, Some(Principal::Operator)).await;
                assert_eq!(status, 202);
                return;
            }
        };
        bench.send(&commands).await.unwrap();
    }

    /// The operations that the provider has done in the end, what was answered, and the payment's state.
    fn ends(self) -> (&'static [&'static str], Vec<&'static str>, &'static str) {
        let (authorized, voided) = ("billing.payment-authorized.v1", "billing.payment-voided.v1");
        let captured = "billing.payment-captured.v1";
        match self {
            Self::Authorize => (&["authorize"], vec![authorized], "authorized"),
            Self::Void | Self::AuthorizeAndVoid => (&["authorize", "void"], vec![authorized, voided], "voided"),
            Self::Capture => (&["authorize", "capture"], vec![authorized, captured], "captured"),
            Self::Refund => (&["authorize", "capture", "refund"], vec![authorized, captured], "captured"),
            Self::RefundRest => {
                let said = vec![authorized, captured, "billing.payment-refunded.v1"];
                (&["authorize", "capture", "refund"], said, "refunded")
            }
        }
    }

    /// Dies at each point that it comes by.
    async fn survives(self) {
        let command = usize::from(self == Self::Refund);
        let points = [WRITING[command], WRITTEN[command]].into_iter().chain(SETTLING);
        for point in points {
            self.survives_at(point).await;
        }
    }

    async fn survives_at(self, point: &str) {
        let mut bench = Bench::start(EAGER).await;
        let order = Order::with("tok_ok");
        for (count, command) in (1..).zip(self.before(&order)) {
            bench.send(&[command]).await.unwrap();
            bench.answered(count).await;
        }
        if self == Self::Refund {
            bench.tell(&[order.confirmed()]).await.unwrap();
        }
        bench.kill_worker().await;
        die(&bench, &order, &self.name(), point).await;
        let intents = bench.count("select count(*) from intent").await;
        if intents > 0 {
            // While the next process recovers it dies too.
            die(&bench, &order, "Nothing", TAKEN).await;
        }
        let (done, said, state) = self.ends();
        let stored = !WRITING.contains(&point);
        let settled = point == "billing.settle.booked" && self != Self::AuthorizeAndVoid;
        assert_eq!(intents, i64::from(stored && !settled), "{self:?} at {point}");

        bench.start_worker(EAGER);
        let moved = bench.reload_offset().await;
        assert_eq!(moved, stored && self != Self::Refund, "{self:?} at {point}");
        if !stored {
            // Kafka hands it over again; an operator asks again.
            self.on(&order, &bench).await;
        }
        bench.poll(async || (bench.provider.done().len() >= done.len()).then_some(())).await;
        bench.poll(async || (bench.count("select count(*) from intent").await == 0).then_some(())).await;
        let answers: Vec<_> = bench.answers().await.iter().map(Message::kind).collect();
        assert_eq!(answers, said, "{self:?} at {point}");
        assert_eq!(bench.state(order.id).await, state, "{self:?} at {point}");
        let keys: Vec<String> = done.iter().map(|operation| format!("{}:{operation}:1", order.id)).collect();
        assert_eq!(bench.provider.done(), keys, "{self:?} at {point}: each once");
        if self == Self::Refund {
            let credited = bench.count("select count(*) from invoice where kind = 'credit_note' and refund = 1").await;
            assert_eq!(credited, 1, "{self:?} at {point}");
        }
        let entries = bench.count("select count(*) from ledger_entry").await;
        assert_eq!(usize::try_from(entries).unwrap(), done.len(), "{self:?} at {point}");
    }
}

/// Runs a process that does something to `order` and dies at `point`.
async fn die(bench: &Bench, order: &Order, does: &str, point: &str) {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::a_process_that_dies", "--ignored", "--nocapture"])
        .env("CRASH_AT", point)
        .env("CRASH_DATABASE", &bench.url)
        .env("CRASH_PROVIDER", &bench.provider.url)
        .env("CRASH_ORDER", format!("{} {} {does}", order.id, order.customer))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it dies").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGKILL), "{does} came by {point}, or not: {:?} {said}", ended.status);
}

#[tokio::test]
#[ignore = "the others run it in a process of its own"]
async fn a_process_that_dies() {
    let var = |name| env::var(name).unwrap();
    let bench = Bench::join(&var("CRASH_DATABASE"), &var("CRASH_PROVIDER"), EAGER).await;
    let order = var("CRASH_ORDER");
    let [id, customer, does] = order.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let order = Order::known(id.parse().unwrap(), customer.parse().unwrap());
    if let Some(deed) = Deed::ALL.into_iter().find(|deed| deed.name() == does) {
        deed.on(&order, &bench).await;
    }
    // The worker goes on until it dies.
    tokio::time::sleep(PATIENCE).await;
}

#[tokio::test]
async fn an_authorization_survives_a_crash_at_any_point() {
    Deed::Authorize.survives().await;
}

#[tokio::test]
async fn a_void_survives_a_crash_at_any_point() {
    Deed::Void.survives().await;
}

#[tokio::test]
async fn a_capture_survives_a_crash_at_any_point() {
    Deed::Capture.survives().await;
}

#[tokio::test]
async fn a_refund_survives_a_crash_at_any_point() {
    Deed::Refund.survives().await;
}

#[tokio::test]
async fn the_return_of_the_rest_survives_a_crash_at_any_point() {
    Deed::RefundRest.survives().await;
}

#[tokio::test]
async fn what_an_outcome_opens_survives_a_crash_at_any_point() {
    Deed::AuthorizeAndVoid.survives().await;
}

#[test]
fn every_point_of_the_code_is_one_of_these() {
    fn collect(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text.split("crash_point(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
                found.extend(names);
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let known = WRITING.iter().chain(&WRITTEN).chain(&SETTLING).chain([&TAKEN]);
    assert_eq!(found, known.map(|point| (*point).to_owned()).collect());
}
