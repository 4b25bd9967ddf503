//! One request is one trace, over HTTP and Kafka, through all services; and whoever wants to see it hinders nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use testkit::{Collected, Collector};
use uuid::Uuid;

use super::{
    topics::Topics,
    world::{Customer, OK, Order, PATIENCE, World, many},
};

const CLIENT: &str = "00f067aa0ba902b7";

async fn traced(name: &str, collector: &Collector, part: &str) -> World {
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_TRACES_SAMPLER_ARG", part)];
    World::set_to(name, settings.map(|(variable, value)| (variable, value.to_owned())).into()).await
}

// With a thread for the collector: what reads the topics here holds up its own for longer than spans wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_request_causes_is_one_trace_through_all_services_and_topics() {
    let collector = Collector::start().await;
    // Of its own accord nobody has a trace recorded, so all that is seen is ours.
    let world = traced("traces", &collector, "0").await;
    world.product("TRC-1", 10).await;
    let customer = world.customer();
    let (placing, cancelling) = ("1".repeat(32), "2".repeat(32));
    let order = place(&customer, &placing).await;
    world.all_is_sent().await;
    let answer = customer.cancel_within(order, &format!("00-{cancelling}-{CLIENT}-01")).await;
    assert!(answer.is_success(), "{answer}");
    let cancelled = async {
        while customer.show(order).await.status != "cancelled" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled).await.expect("the order is cancelled");
    world.all_is_sent().await;

    // Time may have asked again, which is a trace of its own; the first of each kind is the request's.
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for (kind, traceparent) in Topics::of(&world).traces(&order.to_string()) {
        first.entry(kind).or_insert(traceparent);
    }
    let kinds_of = |trace: &str| {
        let of_it = first.iter().filter(|(_, traceparent)| traceparent[3..35] == *trace);
        of_it.map(|(kind, _)| kind.rsplit_once(".v").unwrap().0).collect::<BTreeSet<_>>()
    };
    let placed = [
        "order.placed",
        "inventory.hold-stock",
        "billing.authorize-payment",
        "inventory.stock-held",
        "billing.payment-authorized",
        "billing.capture-payment",
        "billing.payment-captured",
        "order.confirmed",
    ];
    let undone = [
        "inventory.reclaim-stock",
        "inventory.stock-reclaimed",
        "billing.refund-payment",
        "billing.payment-refunded",
        "order.cancelled",
    ];
    assert_eq!(kinds_of(&placing), BTreeSet::from(placed), "{first:#?}");
    assert_eq!(kinds_of(&cancelling), BTreeSet::from(undone), "{first:#?}");
    // Every message was caused by a span that is seen, and all three services are in both traces.
    let complete = |spans: &[Collected]| {
        let is_seen = |traceparent: &String| {
            let cause = (&traceparent[3..35], &traceparent[36..52]);
            spans.iter().any(|span| (span.trace.as_str(), span.span.as_str()) == cause)
        };
        first.values().all(is_seen) && [&placing, &cancelling].iter().all(|trace| is_whole(spans, trace))
    };
    eprintln!("{first:#?}");
    collector.wait(PATIENCE, complete).await;
    for service in ["order", "inventory", "billing"] {
        assert_eq!(world.metric(service, "spans_lost_total").await, 0.0, "{service} has sent all");
    }
}

/// Whether the trace begins with the client's request, and all three services have taken in messages of it.
fn is_whole(spans: &[Collected], trace: &str) -> bool {
    let of_it: Vec<&Collected> = spans.iter().filter(|span| span.trace == trace).collect();
    let begins = of_it.iter().any(|span| (span.service.as_str(), span.parent.as_str()) == ("order", CLIENT));
    let taken_in = of_it.iter().filter(|span| span.kind == "CONSUMER").map(|span| span.service.as_str());
    begins && taken_in.collect::<BTreeSet<_>>() == BTreeSet::from(["billing", "inventory", "order"])
}

async fn place(customer: &Customer, trace: &str) -> Uuid {
    customer.introduce().await;
    let lines = json!([{ "sku": "TRC-1", "quantity": 1 }]);
    let request = customer.request_at(0, "traced", &lines, OK).header("traceparent", format!("00-{trace}-{CLIENT}-01"));
    let answer = request.header("prefer", "wait=30").send().await.unwrap().error_for_status().unwrap();
    let order: Order = answer.json().await.unwrap();
    assert_eq!(order.status, "confirmed");
    order.id
}

#[tokio::test]
async fn a_collector_that_never_answers_hinders_no_order() {
    let collector = Collector::mute().await;
    let world = std::sync::Arc::new(traced("mute", &collector, "1").await);
    world.product("TRC-2", 1_000).await;
    let orders = many(&world, "TRC-2", 40).await;
    assert!(orders.iter().all(|order| order.status != "pending"), "{orders:?}");
    // Two requests to the collector have failed, one after the other, and only of the first is it said.
    let mut lost = BTreeSet::from([0]);
    let twice = async {
        while lost.len() < 3 {
            world.customer().buy("TRC-2", 1, OK).await;
            lost.insert(world.metric("order", "spans_lost_total").await as u64);
        }
    };
    tokio::time::timeout(PATIENCE, twice).await.expect("what is lost is counted");
    let complaints = || world.log("order").lines().filter(|line| line.contains("Spans are lost")).count();
    let said = async {
        while complaints() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect("it is said");
    assert_eq!(complaints(), 1, "{}", world.log("order"));
}
