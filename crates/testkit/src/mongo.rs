//! MongoDB for tests.

use std::env;

use mongodb::{Client, Database};
use servers::{Data, Mongo, MongoConfig, Server, ServerError, free_port};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    containers,
    run::{self, Held},
};

/// The replica set of one of this test process: transactions and change streams work.
#[derive(Debug)]
pub struct TestMongo {
    /// The URL before and after the name of the database.
    url: (String, String),
    /// Held so that it runs; the guard stops it when we end.
    _server: Option<Held<Mongo>>,
}

/// A fresh, empty database.
#[derive(Debug, Clone)]
pub struct TestMongoDatabase {
    /// Its URL.
    pub url: String,
    /// The database. Its client belongs to the runtime of the test that asked.
    pub database: Database,
}

/// The server of this test process; started at the first call.
pub async fn mongo() -> &'static TestMongo {
    static SERVER: OnceCell<TestMongo> = OnceCell::const_new();
    SERVER.get_or_init(begin).await
}

async fn begin() -> TestMongo {
    let Ok(url) = env::var("TEST_MONGODB_URL") else {
        if containers::wanted() {
            let (server, url) = containers::start_mongo().await;
            return TestMongo { url: around_database(&url), _server: Some(Held::Contained(Box::new(server))) };
        }
        return start().await.unwrap_or_else(|error| panic!("no MongoDB for tests: {error}"));
    };
    run::say("MongoDB from TEST_MONGODB_URL");
    let server = TestMongo { url: around_database(&url), _server: None };
    server.sweep().await.unwrap_or_else(|error| panic!("TEST_MONGODB_URL cannot be used: {error}"));
    server
}

async fn start() -> Result<TestMongo, ServerError> {
    let folder = run::folder();
    let home = run::fetched(Server::Mongo).await?;
    let config = MongoConfig {
        name: "MongoDB for tests".into(),
        data: folder.join("mongo"),
        log: folder.join("mongo.log"),
        port: free_port()?,
        worth: Data::Throwaway,
    };
    let server = Mongo::start(&home, &config).await?;
    run::say(&format!("{} started on port {}", Server::Mongo.name(), config.port));
    Ok(TestMongo { url: around_database(&server.url("")), _server: Some(Held::Native(server)) })
}

impl TestMongo {
    /// Makes a fresh, empty database.
    pub async fn database(&self) -> TestMongoDatabase {
        self.make().await.unwrap_or_else(|error| panic!("no database for this test: {error}"))
    }

    async fn make(&self) -> mongodb::error::Result<TestMongoDatabase> {
        // At most 63 bytes are allowed.
        let name = run::name(&format!("_{}", &Uuid::now_v7().simple().to_string()[16..]));
        let (before, after) = &self.url;
        let url = format!("{before}{name}{after}");
        let database = Client::with_uri_str(&url).await?.database(&name);
        Ok(TestMongoDatabase { url, database })
    }

    /// Drops the databases of dead processes.
    async fn sweep(&self) -> mongodb::error::Result<()> {
        let (before, after) = &self.url;
        let client = Client::with_uri_str(format!("{before}{after}")).await?;
        for name in client.list_database_names().await?.iter().filter(|name| run::is_stale(name)) {
            // Another run may be dropping it, too.
            if let Err(error) = client.database(name).drop().await {
                run::say(&format!("{name} is left to others to drop: {error}"));
            }
        }
        Ok(())
    }
}

/// Splits a URL around its database: `mongodb://host/` and `?options`.
fn around_database(url: &str) -> (String, String) {
    let (path, options) = url.split_once('?').map_or((url, String::new()), |(path, rest)| (path, format!("?{rest}")));
    let (scheme, host) = path.split_once("://").unwrap_or(("mongodb", path));
    let host = host.split('/').next().unwrap_or_default();
    (format!("{scheme}://{host}/"), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_around_its_database() {
        let expected = ("mongodb://127.0.0.1:1/".to_owned(), "?replicaSet=rs0".to_owned());
        assert_eq!(around_database("mongodb://127.0.0.1:1/?replicaSet=rs0"), expected);
        assert_eq!(around_database("mongodb://127.0.0.1:1/orders?replicaSet=rs0"), expected);
        assert_eq!(around_database("mongodb://127.0.0.1:1").1, "");
    }
}
