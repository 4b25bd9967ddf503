//! PostgreSQL for tests.

use std::env;

use servers::{Data, Postgres, PostgresConfig, Server, ServerError, free_port};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    containers,
    run::{self, Held},
};

/// The cluster of this test process, with `wal_level=logical`.
#[derive(Debug)]
pub struct TestPostgres {
    /// The URL of the superuser, without a database.
    base: String,
    /// Held so that it runs; the guard stops it when we end.
    _server: Option<Held<Postgres>>,
}

/// A fresh, empty database.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// Its URL, for the superuser.
    pub url: String,
    /// Connections to it. They belong to the runtime of the test that asked.
    pub pool: PgPool,
}

/// The cluster of this test process; started at the first call.
pub async fn postgres() -> &'static TestPostgres {
    static CLUSTER: OnceCell<TestPostgres> = OnceCell::const_new();
    CLUSTER.get_or_init(begin).await
}

async fn begin() -> TestPostgres {
    let Ok(url) = env::var("TEST_POSTGRES_URL") else {
        if containers::wanted() {
            let (server, base) = containers::start_postgres().await;
            return TestPostgres { base, _server: Some(Held::Contained(Box::new(server))) };
        }
        return start("postgres", None).await.unwrap_or_else(|error| panic!("no PostgreSQL for tests: {error}"));
    };
    run::say("PostgreSQL from TEST_POSTGRES_URL");
    let (base, _) = url.rsplit_once('/').unwrap_or_else(|| panic!("TEST_POSTGRES_URL names no database"));
    let cluster = TestPostgres { base: base.to_owned(), _server: None };
    cluster.sweep().await.unwrap_or_else(|error| panic!("TEST_POSTGRES_URL cannot be used: {error}"));
    cluster
}

async fn start(name: &str, log_limit_mb: Option<u32>) -> Result<TestPostgres, ServerError> {
    let folder = run::folder();
    let home = run::fetched(Server::Postgres).await?;
    let config = PostgresConfig {
        name: "PostgreSQL for tests".into(),
        data: folder.join(name),
        log: folder.join(format!("{name}.log")),
        port: free_port()?,
        password: None,
        worth: Data::Throwaway,
        log_limit_mb,
    };
    let server = Postgres::start(&home, &config).await?;
    run::say(&format!("{} started on port {}, fsync off", Server::Postgres.name(), config.port));
    let base = server.url("");
    Ok(TestPostgres { base: base.trim_end_matches('/').to_owned(), _server: Some(Held::Native(server)) })
}

impl TestPostgres {
    /// A cluster of one test's own, called `name`, which keeps so much of its log for a slot and no more.
    pub async fn with_log_of(name: &str, megabytes: u32) -> Self {
        start(name, Some(megabytes)).await.unwrap_or_else(|error| panic!("no PostgreSQL for this test: {error}"))
    }

    /// Makes a fresh, empty database.
    pub async fn database(&self) -> TestDatabase {
        self.make().await.unwrap_or_else(|error| panic!("no database for this test: {error}"))
    }

    async fn make(&self) -> sqlx::Result<TestDatabase> {
        let name = run::name(&format!("_{}", Uuid::now_v7().simple()));
        let mut admin = self.admin().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await?;
        admin.close().await?;
        let url = format!("{}/{name}", self.base);
        Ok(TestDatabase { pool: PgPool::connect(&url).await?, url })
    }

    async fn admin(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&format!("{}/postgres", self.base)).await
    }

    /// Drops the databases of dead processes, and the replication slots that would keep them.
    async fn sweep(&self) -> sqlx::Result<()> {
        let mut admin = self.admin().await?;
        let names: Vec<String> = sqlx::query_scalar("select datname from pg_database").fetch_all(&mut admin).await?;
        for name in names.iter().filter(|name| run::is_stale(name)) {
            // Another run may be dropping it, too.
            if let Err(error) = drop_database(&mut admin, name).await {
                run::say(&format!("{name} is left to others to drop: {error}"));
            }
        }
        admin.close().await
    }
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let slots = "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                 where database = $1 and not active";
    sqlx::query_scalar::<_, ()>(slots).bind(name).fetch_all(&mut *admin).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).execute(admin).await?;
    Ok(())
}
