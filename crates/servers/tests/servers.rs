//! The real servers: first start, second start, a start after an interrupted first one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path};

use mongodb::{Client, bson::doc};
use servers::{
    Data, Home, Kafka, KafkaConfig, Mongo, MongoConfig, Postgres, PostgresConfig, Server, ServerError, fetch,
    free_port, require_free_port,
};

#[tokio::test]
async fn postgres_makes_its_cluster_once_and_again_if_that_was_interrupted() {
    let (home, dir) = place(Server::Postgres).await;
    let config = PostgresConfig {
        name: "PostgreSQL".into(),
        data: dir.path().join("pg"),
        log: dir.path().join("pg.log"),
        port: free_port().unwrap(),
        password: Some("secret".into()),
        worth: Data::Kept,
        log_limit_mb: None,
    };
    fs::create_dir_all(config.data.join("new/base")).unwrap();
    fs::write(config.data.join("new/PG_VERSION"), "18\n").unwrap();

    let first = Postgres::start(&home, &config).await.unwrap();
    assert!(!format!("{config:?} {first:?}").contains("secret"), "its password is shown to nobody");
    assert!(matches!(require_free_port(config.port, "another"), Err(ServerError::PortInUse { .. })));
    let refused = Postgres::start(&home, &config).await.unwrap_err().to_string();
    assert_eq!(refused, format!("port {}, wanted by PostgreSQL, is in use", config.port));
    assert!(first.process().stop().await.success());
    assert!(!config.data.join("password").exists() && !config.data.join("new").exists());

    let made = fs::metadata(config.data.join("cluster/PG_VERSION")).unwrap().modified().unwrap();
    let second = Postgres::start(&home, &config).await.unwrap();
    assert_eq!(fs::metadata(config.data.join("cluster/PG_VERSION")).unwrap().modified().unwrap(), made);

    // After a crash and a reboot, the id in the lock file may be that of any process of the same user.
    second.process().kill();
    second.process().ended().await;
    let other = PostgresConfig {
        data: dir.path().join("other"),
        port: free_port().unwrap(),
        password: None,
        worth: Data::Throwaway,
        log_limit_mb: None,
        ..config.clone()
    };
    let other = Postgres::start(&home, &other).await.unwrap();
    let lock = config.data.join("cluster/postmaster.pid");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, text.replacen(&second.process().pid().to_string(), &other.process().pid().to_string(), 1))
        .unwrap();
    let third = Postgres::start(&home, &config).await.unwrap();
    assert!(third.process().stop().await.success());
    other.process().stop().await;
}

#[tokio::test]
async fn mongo_keeps_its_documents_also_on_another_port() {
    let (home, dir) = place(Server::Mongo).await;
    let mut config = MongoConfig {
        name: "MongoDB".into(),
        data: dir.path().join("mongo"),
        log: dir.path().join("mongo.log"),
        port: free_port().unwrap(),
        worth: Data::Kept,
    };
    let first = Mongo::start(&home, &config).await.unwrap();
    let shelf = Client::with_uri_str(first.url("test")).await.unwrap().database("test").collection("shelf");
    shelf.insert_one(doc! { "_id": 1 }).await.unwrap();
    assert!(first.process().stop().await.success());

    config.port = free_port().unwrap();
    let second = Mongo::start(&home, &config).await.unwrap();
    let client = Client::with_uri_str(second.url("test")).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let shelf = client.database("test").collection::<mongodb::bson::Document>("shelf");
    assert_eq!(shelf.count_documents(doc! {}).session(&mut session).await.unwrap(), 1);
    session.commit_transaction().await.unwrap();
    assert!(second.process().stop().await.success());
}

#[tokio::test]
async fn kafka_starts_again_on_its_data_and_on_other_ports() {
    let (home, dir) = place(Server::Kafka).await;
    let mut config = KafkaConfig {
        name: "Kafka".into(),
        data: dir.path().join("kafka"),
        log: dir.path().join("kafka.log"),
        port: free_port().unwrap(),
        controller_port: free_port().unwrap(),
        worth: Data::Kept,
    };
    fs::create_dir_all(config.data.join("logs.new")).unwrap();
    let first = Kafka::start(&home, &config).await.unwrap();
    assert_eq!(first.process().stop().await.code(), Some(143));
    config.port = free_port().unwrap();
    config.controller_port = free_port().unwrap();
    let second = Kafka::start(&home, &config).await.unwrap();
    assert_eq!(second.brokers(), format!("127.0.0.1:{}", config.port));
    second.process().kill();
    second.process().ended().await;
    let third = Kafka::start(&home, &config).await.unwrap();
    assert_eq!(third.process().stop().await.code(), Some(143));
}

#[tokio::test]
async fn a_server_that_ends_while_starting_says_why() {
    let (home, dir) = place(Server::Mongo).await;
    let config = MongoConfig {
        name: "MongoDB".into(),
        data: dir.path().join("mongo"),
        log: dir.path().join("mongo.log"),
        port: free_port().unwrap(),
        worth: Data::Throwaway,
    };
    fs::create_dir_all(config.data.join("mongod.lock/in the way")).unwrap();
    let refused = Mongo::start(&home, &config).await.unwrap_err();
    assert!(matches!(refused, ServerError::Died { .. }), "{refused}");
}

/// The fetched servers and an empty folder that every user may enter.
async fn place(server: Server) -> (Home, tempfile::TempDir) {
    let home = Home::of_this_user();
    fetch::fetch(&home, &[server]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    (home, dir)
}

fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
