//! A broker that will take a message for another.

use messaging::{
    Broker, TopicSpec,
    producer::{Committed, Producer},
};
use testkit::TestKafka;
use uuid::Uuid;

/// Has `kafka` lose its data while somebody writes, who then writes `count` messages of `key` to the topic of `spec`, made anew.
/// Without its data a broker numbers its producers from the beginning: the next one gets the number that this one has. What
/// comes first under it for that partition is taken for those messages, if it is as many, and else refused.
pub(crate) async fn lose_all_while_another_writes(
    kafka: &mut TestKafka,
    broker: &Broker,
    spec: &TopicSpec,
    key: &str,
    count: usize,
) {
    let other = Producer::new(broker, "other").unwrap();
    let message = |topic: &str| Committed {
        id: Uuid::now_v7(),
        topic: topic.to_owned(),
        key: key.to_owned(),
        kind: "it.happened.v1".to_owned(),
        payload: "1".to_owned(),
        traceparent: None,
    };
    let elsewhere = TopicSpec { name: "elsewhere".into(), ..spec.clone() };
    broker.ensure_topics(std::slice::from_ref(&elsewhere)).await.unwrap();
    // It has a number once it has sent something, the first there is.
    other.send(vec![message("elsewhere")]).await.unwrap();
    kafka.kill().await;
    kafka.start_without_data().await;
    broker.ensure_topics(std::slice::from_ref(spec)).await.unwrap();
    other.send(vec![message(&spec.name); count]).await.unwrap();
}
