//! The database of a service and the role it logs in with. Neither reaches any other database.

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

/// What holds for a service's role, by setting. The promise of the outbox: no transaction is open for longer than a
/// minute. One that nobody goes on with, such as that of a process that is frozen, gives its locks back long before the
/// sagas that wait for them give up.
const LIMITS: [(&str, &str); 2] = [("transaction_timeout", "60s"), ("idle_in_transaction_session_timeout", "10s")];

/// Makes `database` and its owner `role`, as far as they are missing. The role may read the log, for its relay.
///
/// `admin_url` is the superuser's. The names are our own constants and the password has hexadecimal digits only, so
/// they can stand in a statement, where these statements take no parameters. The password is in no log, neither ours nor
/// that of the server.
pub(crate) async fn prepare(admin_url: &str, database: &str, role: &str, password: &str) -> sqlx::Result<()> {
    let mut admin = admin_url.parse::<PgConnectOptions>()?.disable_statement_logging().connect().await?;
    let role_there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut admin)
        .await?;
    if !role_there {
        let silence = "set log_statement = 'none'; set log_min_duration_statement = -1; set log_duration = off;
                       set log_min_error_statement = 'panic'";
        run(&mut admin, silence.to_owned()).await?;
        run(&mut admin, format!("create role {role} login replication password '{password}'")).await?;
        run(&mut admin, "reset all".to_owned()).await?;
    }
    for (setting, value) in LIMITS {
        run(&mut admin, format!("alter role {role} set {setting} = '{value}'")).await?;
    }
    let database_there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(database)
        .fetch_one(&mut admin)
        .await?;
    if !database_there {
        run(&mut admin, format!("create database {database} owner {role}")).await?;
        run(&mut admin, format!("revoke connect on database {database} from public")).await?;
    }
    admin.close().await
}

async fn run(admin: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(admin).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::{io, os::unix::fs::PermissionsExt, sync::Mutex};

    use servers::{Data, Home, Postgres, PostgresConfig, Server, fetch, free_port};

    use super::*;

    const PASSWORD: &str = "5ec2e7c0ffee";

    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Log;

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOG.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A server that logs every statement, and a subscriber that keeps every event.
    #[tokio::test]
    async fn a_service_gets_its_limits_and_nobody_hears_its_password() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Log).init();
        let home = Home::of_this_user();
        fetch::fetch(&home, &[Server::Postgres]).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = PostgresConfig {
            name: "PostgreSQL".into(),
            data: dir.path().join("pg"),
            log: dir.path().join("pg.log"),
            port: free_port().unwrap(),
            password: Some("admin".to_owned()),
            worth: Data::Throwaway,
            log_limit_mb: None,
        };
        let server = Postgres::start(&home, &config).await.unwrap();
        let admin = server.url("postgres");
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        let log_all = "alter system set log_statement = 'all'; alter system set log_min_duration_statement = 0";
        for statement in log_all.split(';').chain(["select pg_reload_conf()"]) {
            run(&mut connection, statement.to_owned()).await.unwrap();
        }
        for _ in 0..2 {
            prepare(&admin, "shelf", "keeper", PASSWORD).await.unwrap();
        }
        let mut keeper = PgConnection::connect(&server.url_as("keeper", PASSWORD, "shelf")).await.unwrap();
        let mut limits = Vec::new();
        for setting in ["transaction_timeout", "idle_in_transaction_session_timeout"] {
            let show = sqlx::query_scalar::<_, String>("select current_setting($1)").bind(setting);
            limits.push(show.fetch_one(&mut keeper).await.unwrap());
        }
        assert_eq!(limits, ["1min", "10s"]);

        let theirs = std::fs::read_to_string(&config.log).unwrap();
        assert!(theirs.contains("alter role keeper") && theirs.contains("create database shelf"), "{theirs}");
        assert!(!theirs.contains(PASSWORD), "{theirs}");
        let ours = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        assert!(ours.contains("current_setting"), "statements are logged");
        assert!(!ours.contains(PASSWORD), "{ours}");
        server.process().stop().await;
    }
}
