//! The database of a service and the role it logs in with. Neither reaches any other database.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Makes `database` and its owner `role`, as far as they are missing. The role may read the log, for its relay.
///
/// `admin_url` is the superuser's. The names are our own constants and the password has hexadecimal digits only, so
/// they can stand in a statement, where these statements take no parameters.
pub(crate) async fn prepare(admin_url: &str, database: &str, role: &str, password: &str) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect(admin_url).await?;
    let role_there: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut admin)
        .await?;
    if !role_there {
        run(&mut admin, format!("create role {role} login replication password '{password}'")).await?;
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
