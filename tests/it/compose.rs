//! What `docker-compose.yml` must have, so that whoever breaks into one container has that one container. No engine is needed.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value};
use servers::{Data, kafka, mongo, postgres};
use shop::{State, compose};

/// Containers that are root, and why each must be. None is.
const ROOT: [(&str, &str); 0] = [];

/// What the world may ask: the services' HTTP APIs.
const PUBLISHED: [(&str, &str); 3] = [("order", "7001"), ("inventory", "7002"), ("billing", "7003")];

/// Who gets more than the secrets of its own name: whoever makes them, and what works for an operator.
const OPERATORS: [&str; 4] = ["secrets", "prepare", "seed", "shop"];

/// The description, with what it repeats filled in.
fn description() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml");
    serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn services() -> BTreeMap<String, Map<String, Value>> {
    let services: BTreeMap<String, Map<String, Value>> =
        serde_json::from_value(description()["services"].clone()).unwrap();
    assert!(services.len() >= 12, "{:?}", services.keys());
    services
}

/// The texts of the list `field`. None if it is not there.
fn list<'a>(service: &'a Map<String, Value>, field: &str) -> Vec<&'a str> {
    let items = service.get(field).map_or(&[][..], |items| items.as_array().unwrap());
    items.iter().map(|item| item.as_str().unwrap()).collect()
}

fn environment(service: &Map<String, Value>) -> BTreeMap<&str, &str> {
    let variables = service.get("environment").and_then(Value::as_object);
    variables.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
}

#[test]
fn no_container_is_root_or_may_become_more_than_it_is() {
    for (name, service) in services() {
        let user = service.get("user").and_then(Value::as_str).unwrap_or("root");
        let root = matches!(user.split(':').next(), Some("0" | "root" | ""));
        assert!(!root || ROOT.iter().any(|(excused, _)| *excused == name), "{name} is root, for no stated reason");
        assert_eq!(list(&service, "cap_drop"), ["ALL"], "{name}");
        assert!(list(&service, "security_opt").contains(&"no-new-privileges:true"), "{name}");
        assert_eq!(service.get("read_only"), Some(&Value::Bool(true)), "{name} writes to its image");
        for more in
            ["privileged", "cap_add", "devices", "device_cgroup_rules", "group_add", "pid", "ipc", "userns_mode"]
        {
            assert!(!service.contains_key(more), "{name} has {more}");
        }
        let alone = service.get("network_mode").is_none_or(|mode| mode == "none");
        assert!(alone, "{name} uses another's network");
    }
}

#[test]
fn no_container_can_use_up_the_machine() {
    for (name, service) in services() {
        for limit in ["mem_limit", "pids_limit"] {
            assert!(service.contains_key(limit), "{name} has no {limit}");
        }
        let kept = &service["logging"]["options"];
        assert!(kept["max-size"].is_string() && kept["max-file"].is_string(), "{name} logs without end");
    }
}

#[test]
fn only_http_ports_are_published_and_to_this_machine_alone() {
    let services = services();
    for (name, service) in &services {
        for port in list(service, "ports") {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
            let inside = port.rsplit(':').next().unwrap();
            assert!(PUBLISHED.contains(&(name.as_str(), inside)), "{name} publishes {port}");
        }
    }
    for (name, _) in PUBLISHED {
        assert_eq!(list(&services[name], "ports").len(), 1, "{name}");
    }
}

/// A database is on one network, which leads nowhere and has one service on it.
#[test]
fn a_database_is_reached_by_its_service_alone() {
    let (services, networks) = (services(), description()["networks"].clone());
    let databases = [("postgres-orders", "order"), ("postgres-billing", "billing"), ("mongo", "inventory")];
    for (database, owner) in databases {
        let [network] = list(&services[database], "networks")[..] else { panic!("{database} is on one network") };
        assert_eq!(networks[network]["internal"], Value::Bool(true), "{network} leads out");
        let there = services.iter().filter(|(_, service)| list(service, "networks").contains(&network));
        let there: Vec<&str> = there.map(|(name, _)| name.as_str()).filter(|name| !OPERATORS.contains(name)).collect();
        assert_eq!(there.len(), 2, "{there:?} are on {network}");
        assert!(there.contains(&database) && there.contains(&owner), "{there:?} are on {network}");
    }
}

#[test]
fn no_secret_stands_in_the_description_and_each_container_sees_its_own_alone() {
    for (name, service) in services() {
        for (variable, value) in environment(&service) {
            let secret = ["PASSWORD", "SECRET", "_URL"].iter().any(|word| variable.contains(word));
            let shown = value.starts_with("http://") && !value.contains('@');
            assert!(!secret || variable.ends_with("_FILE") || shown, "{name} is told {variable}={value}");
        }
        for volume in list(&service, "volumes") {
            let (source, target) = volume.split_once(':').unwrap();
            assert!(!source.contains(['/', '.']), "{name} sees {source} of this machine");
            if source.starts_with("secrets-") && !OPERATORS.contains(&name.as_str()) {
                assert_eq!(source, format!("secrets-{name}"), "{name} sees another's secrets");
                assert!(target.ends_with(":ro"), "{name} may write its own secrets");
            }
        }
    }
}

/// Who is called what is in the program that makes the secrets, and in the description.
#[test]
fn containers_have_the_names_that_they_call_each_other() {
    let services = services();
    let home = tempfile::tempdir().unwrap();
    let secrets = list(&services["secrets"], "volumes");
    let folders = secrets.iter().map(|volume| volume.rsplit('/').next().unwrap());
    folders.for_each(|folder| fs::create_dir(home.path().join(folder)).unwrap());
    compose::make_secrets(home.path()).expect("there is a volume for each container that needs a secret");
    let State { stores, services: called, .. } = State::read(&home.path().join("shop")).unwrap();
    let mut urls =
        vec![stores.orders, stores.billing, stores.inventory, stores.provider, format!("/{}", stores.brokers)];
    urls.extend(called.into_values().flatten());
    assert_eq!(urls.len(), 8);
    for url in urls {
        let host = url.rsplit('@').next().unwrap().trim_start_matches("http:").trim_start_matches('/');
        let host = host.split(':').next().unwrap();
        assert!(services.contains_key(host), "no container is called {host}");
    }
}

/// What is tried by hundreds of tests is what runs here.
#[test]
fn servers_have_the_settings_of_the_native_ones() {
    let services = services();
    let kafka = environment(&services["kafka"]);
    let settings: Vec<_> = kafka::SETTINGS.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(settings.len() >= 15, "{settings:?}");
    for (name, value) in settings {
        let variable = format!("KAFKA_{}", name.to_uppercase().replace('.', "_"));
        assert_eq!(kafka.get(variable.as_str()), Some(&value), "{variable}");
    }
    let told = |service: &str| list(&services[service], "command").split_off(1);
    let wanted: Vec<String> = postgres::settings_of(Data::Kept, None).iter().map(|said| format!("-c{said}")).collect();
    assert_eq!([told("postgres-orders"), told("postgres-billing")], [wanted.clone(), wanted]);
    let mongod = told("mongo");
    for argument in mongo::arguments_of(Data::Kept) {
        assert!(mongod.contains(&argument), "{argument} is not in {mongod:?}");
    }
}

/// Whoever has no image registry builds them: `deploy/offline/build`.
#[test]
fn every_image_can_be_another() {
    let chosen =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/offline/images.env")).unwrap();
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        let variable =
            image.strip_prefix("${").and_then(|image| image.split_once(":-")).expect("a variable with a default").0;
        let other = chosen.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
        let other = other.unwrap_or_else(|| panic!("{name} runs {variable}, which is not built"));
        assert!(other.starts_with("ironmonger/offline-"), "{other} has the name of another's image");
    }
}
