//! What the services say to each other, described as an AsyncAPI 3.0 document: made from the table of topics, the types of
//! the messages and their golden files, so that it says what the program does.

use std::collections::BTreeMap;

use contracts::{
    Message, Topic,
    billing::{BillingCommand, BillingEvent},
    inventory::{CatalogueEvent, InventoryCommand, InventoryEvent},
    order::OrderEvent,
    topic::{Kept, PARTITIONS, Spec, TOPICS},
    wire::GOLDEN,
};
use serde_json::{Map, Value, json};
use utoipa::{ToSchema, openapi::RefOr};

const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// The document.
pub fn asyncapi() -> Value {
    let (mut channels, mut operations, mut messages, mut schemas) = (Map::new(), Map::new(), Map::new(), Map::new());
    for spec in &TOPICS {
        let Family { kinds, schemas: mentioned } = family(spec.topic);
        let listed =
            kinds.keys().map(|kind| (kind.clone(), json!({ "$ref": format!("#/components/messages/{kind}") })));
        channels.insert(spec.name.to_owned(), channel(spec, listed.collect()));
        let sides = spec.readers.iter().map(|reader| (*reader, "receive"));
        for (service, action) in std::iter::once((spec.writer, "send")).chain(sides) {
            let channel = json!({ "$ref": format!("#/channels/{}", spec.name) });
            let operation = json!({ "action": action, "channel": channel, "tags": [{ "name": service }] });
            operations.insert(format!("{service}.{action}.{}", spec.name), operation);
        }
        messages.extend(kinds);
        schemas.extend(mentioned);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ironmonger",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the services say to each other over Kafka. Every message is delivered at least once; those of \
                            one key in their order, in whatever topic. A reader ignores fields that it does not know.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas, "messageTraits": { "cloudEvent": cloud_event() } },
    })
}

fn channel(spec: &Spec, messages: Map<String, Value>) -> Value {
    let (kept, configuration) = match spec.kept {
        Kept::Days(days) => {
            let configuration =
                json!({ "cleanup.policy": ["delete"], "retention.ms": u64::from(days) * MILLIS_PER_DAY });
            (format!("Kept for {days} days."), configuration)
        }
        Kept::Compacted => {
            ("Of each key the last message is kept for ever.".to_owned(), json!({ "cleanup.policy": ["compact"] }))
        }
    };
    let kafka = json!({ "partitions": PARTITIONS, "topicConfiguration": configuration, "bindingVersion": "0.5.0" });
    let readers = spec.readers.join(" and ");
    json!({
        "address": spec.name,
        "description": format!("Written by {}, read by {readers}. {kept}", spec.writer),
        "messages": messages,
        "bindings": { "kafka": kafka },
    })
}

/// All messages of one type.
struct Family {
    /// By their versioned name.
    kinds: BTreeMap<String, Value>,
    /// What their schemas mention.
    schemas: Vec<(String, Value)>,
}

fn family(topic: Topic) -> Family {
    match topic {
        Topic::OrderEvents => of_type::<OrderEvent>(topic),
        Topic::InventoryCommands => of_type::<InventoryCommand>(topic),
        Topic::BillingCommands => of_type::<BillingCommand>(topic),
        Topic::InventoryEvents => of_type::<InventoryEvent>(topic),
        Topic::BillingEvents => of_type::<BillingEvent>(topic),
        Topic::InventoryCatalogue => of_type::<CatalogueEvent>(topic),
    }
}

fn of_type<M: Message + ToSchema>(topic: Topic) -> Family {
    assert_eq!(M::TOPIC, topic, "each topic has the messages of one type");
    let mut mentioned = Vec::new();
    M::schemas(&mut mentioned);
    let variants = plain(&M::schema());
    let variants = variants["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let mut examples: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut newest: BTreeMap<String, &str> = BTreeMap::new();
    for (name, golden) in GOLDEN {
        let Ok(message) = serde_json::from_str::<M>(golden) else { continue };
        let payload: Value = serde_json::from_str(golden).expect("a golden file is JSON");
        let kind = payload["type"].as_str().expect("a message says what it is").to_owned();
        newest.insert(kind.clone(), message.kind());
        examples.entry(kind).or_default().push(json!({ "name": name, "payload": payload }));
    }
    let described = examples.into_iter().map(|(kind, examples)| {
        let schema = variants.iter().find(|variant| variant["properties"]["type"]["enum"] == json!([kind]));
        (kind.clone(), message(&kind, newest[&kind], schema, &examples))
    });
    let kinds = described.collect();
    Family { kinds, schemas: mentioned.iter().map(|(name, schema)| (name.clone(), plain(schema))).collect() }
}

/// `schema` is none for an older version: nobody writes it any more, and its examples show what is read.
fn message(kind: &str, newest: &str, schema: Option<&Value>, examples: &[Value]) -> Value {
    let mut message = json!({
        "name": kind,
        "contentType": "application/json",
        "traits": [{ "$ref": "#/components/messageTraits/cloudEvent" }],
        "examples": examples,
    });
    match schema {
        Some(schema) => {
            message["summary"] = schema["description"].clone();
            message["payload"] = schema.clone();
        }
        None => {
            message["summary"] = format!("An older version, read as {newest} and written by nobody any more.").into();
            message["deprecated"] = true.into();
        }
    }
    message
}

/// The headers of every message: CloudEvents 1.0, binary mode.
fn cloud_event() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "headers": {
            "type": "object",
            "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"],
            "properties": {
                "content-type": { "const": "application/json" },
                "ce_specversion": { "const": "1.0" },
                "ce_id": text("Names the message: a second one of the same id is dropped."),
                "ce_type": text("Its versioned name, the same as `type` in the payload."),
                "ce_source": text("The service that has written it."),
                "ce_subject": text("Its key: messages of one key stay in order."),
                "ce_time": text("When it was written. RFC 3339."),
                "ce_generation": text("Of the database it comes from; another one after that was lost."),
                "traceparent": text("What it was caused by, as W3C Trace Context has it."),
            },
        },
        "bindings": { "kafka": { "key": text("An order's id, or a SKU."), "bindingVersion": "0.5.0" } },
    })
}

fn plain(schema: &RefOr<utoipa::openapi::Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is always JSON")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use boon::{Compiler, SchemaIndex, Schemas};

    use super::*;

    /// The schema of one message, with all that it mentions.
    struct Validator(Schemas, SchemaIndex);

    impl Validator {
        fn of(document: &Value, kind: &str) -> Self {
            let mut schema = document["components"]["messages"][kind]["payload"].clone();
            schema["components"] = document["components"].clone();
            let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
            compiler.enable_format_assertions();
            compiler.add_resource("http://localhost/message.json", schema).unwrap();
            let compiled = compiler.compile("http://localhost/message.json", &mut schemas).unwrap();
            Self(schemas, compiled)
        }

        fn check(&self, payload: &Value) -> Result<(), String> {
            self.0.validate(payload, self.1).map_err(|wrong| format!("{wrong:#}"))
        }
    }

    #[test]
    fn every_topic_of_the_table_is_described_and_no_other() {
        let document = asyncapi();
        let described: BTreeSet<&str> = document["channels"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(described, TOPICS.iter().map(|spec| spec.name).collect());
        for Spec { name, writer, readers, .. } in TOPICS {
            let operation = |service: &str, action: &str| {
                let channel = &document["operations"][format!("{service}.{action}.{name}")]["channel"]["$ref"];
                assert_eq!(channel, &json!(format!("#/channels/{name}")), "{service} {action}s {name}");
            };
            operation(writer, "send");
            readers.iter().for_each(|reader| operation(reader, "receive"));
        }
        let sides: usize = TOPICS.iter().map(|spec| 1 + spec.readers.len()).sum();
        assert_eq!(document["operations"].as_object().unwrap().len(), sides);
    }

    /// The golden files are what travels: each is an example of its message, in the one topic where that stands.
    #[test]
    fn every_message_and_version_with_a_golden_file_is_described_and_no_other() {
        let document = asyncapi();
        let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/wire");
        let (mut files, mut shown, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for file in fs::read_dir(wire).unwrap() {
            let path = file.unwrap().path();
            let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let kind = golden["type"].as_str().unwrap().to_owned();
            let examples = document["components"]["messages"][&kind]["examples"].as_array();
            let example = examples.and_then(|examples| examples.iter().find(|example| example["name"] == json!(name)));
            assert_eq!(example.unwrap_or_else(|| panic!("{name} is not described"))["payload"], golden, "{name}");
            files.insert(name);
            kinds.insert(kind);
        }
        let described = document["components"]["messages"].as_object().unwrap();
        for message in described.values() {
            shown.extend(
                message["examples"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()),
            );
        }
        assert_eq!(shown, files);
        assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), kinds);
        let places = document["channels"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|channel| channel["messages"].as_object().unwrap());
        let places: Vec<&String> = places.map(|(kind, _)| kind).collect();
        assert_eq!((places.len(), places.into_iter().cloned().collect::<BTreeSet<_>>()), (kinds.len(), kinds));
    }

    #[test]
    fn every_example_fits_its_schema_and_a_broken_one_does_not() {
        let document = asyncapi();
        let (mut held, mut older) = (0, Vec::new());
        for (kind, message) in document["components"]["messages"].as_object().unwrap() {
            assert!(message["summary"].as_str().is_some_and(|summary| summary.len() > 10), "{kind} says nothing");
            if message.get("payload").is_none() {
                older.push(kind.as_str());
                continue;
            }
            let validator = Validator::of(&document, kind);
            for example in message["examples"].as_array().unwrap() {
                let payload = &example["payload"];
                assert_eq!(validator.check(payload), Ok(()), "{kind}");
                for field in payload.as_object().unwrap().keys() {
                    let mut broken = payload.clone();
                    broken.as_object_mut().unwrap().remove(field);
                    assert!(validator.check(&broken).is_err(), "{kind} without {field}");
                }
                held += 1;
            }
        }
        assert_eq!((held + older.len(), older), (GOLDEN.len(), vec!["order.placed.v1"]));
    }
}
