//! Topics at the broker.

use messaging::{Retention, TopicSpec, broker::TopicError};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
};

use crate::support::Bench;

fn specs() -> Vec<TopicSpec> {
    let spec = |name: &str, retention| TopicSpec { name: name.into(), partitions: 2, retention };
    vec![spec("kept", Retention::Millis(86_400_000)), spec("compacted", Retention::Compacted)]
}

#[tokio::test]
async fn several_services_may_create_the_topics_at_once() {
    let bench = Bench::new().await;
    let specs = specs();
    let (one, other) = tokio::join!(bench.broker.ensure_topics(&specs), bench.broker.ensure_topics(&specs));
    one.unwrap();
    other.unwrap();

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &bench.broker.brokers).create().unwrap();
    let names = ["kept", "compacted"].map(|name| bench.broker.full_name(name));
    let asked = names.each_ref().map(|name| ResourceSpecifier::Topic(name));
    let described = admin.describe_configs(&asked, &AdminOptions::new()).await.unwrap();
    let setting = |topic: usize, name: &str| {
        described[topic].as_ref().unwrap().entry_map().get(name).unwrap().value.clone().unwrap()
    };
    assert_eq!((setting(0, "cleanup.policy"), setting(0, "retention.ms")), ("delete".into(), "86400000".into()));
    assert_eq!(setting(1, "cleanup.policy"), "compact");

    let mut more = specs;
    more[0].partitions = 3;
    let refused = bench.broker.ensure_topics(&more).await.unwrap_err();
    assert!(matches!(refused, TopicError::Partitions { found: 2, wanted: 3, .. }), "{refused:?}");
    bench.finish().await;
}
