//! MongoDB: a replica set of one, because transactions and change streams need a replica set.

use std::{path::PathBuf, time::Duration};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::ErrorKind,
    options::ClientOptions,
};

use crate::{
    Data, Guarded, Home, Program, Server, ServerError, guard::StopSignal, health, home::require_writable, ports,
};

/// How long a start may take. Unit: seconds.
const START_LIMIT_S: u64 = 60;

/// The code of the server for a replica set that was never initiated.
const NOT_YET_INITIALIZED: i32 = 94;

/// Where and how one server runs.
#[derive(Debug, Clone)]
pub struct MongoConfig {
    /// What to call it.
    pub name: String,
    /// The folder of its data.
    pub data: PathBuf,
    /// The file its log is added to.
    pub log: PathBuf,
    /// The port on loopback.
    pub port: u16,
    /// What the data is worth.
    pub worth: Data,
}

/// A running server, primary of its replica set.
#[derive(Debug)]
pub struct Mongo {
    process: Guarded,
    port: u16,
}

impl Mongo {
    /// Starts the server, initiates its replica set if that was never done, and waits until it is the primary.
    ///
    /// # Errors
    /// The port is in use, the folders cannot be used, or the server ends or stays silent.
    pub async fn start(home: &Home, config: &MongoConfig) -> Result<Self, ServerError> {
        ports::require_free_port(config.port, &config.name)?;
        require_writable(&config.data)?;
        let process = program(home, config).start()?;
        let admin = admin(config.port)
            .await
            .map_err(|error| ServerError::Unusable { server: Server::Mongo.name(), reason: error.to_string() })?;
        let limit = Duration::from_secs(START_LIMIT_S);
        let host = format!("127.0.0.1:{}", config.port);
        health::wait_until_healthy(&process, limit, || is_primary(&admin, &host)).await?;
        Ok(Self { process, port: config.port })
    }

    /// The URL of `database`.
    pub fn url(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet=rs0&directConnection=true", self.port)
    }

    /// The process: to watch it, and to stop it.
    pub fn process(&self) -> &Guarded {
        &self.process
    }

    /// The process alone, for whoever watches all processes alike.
    pub fn into_process(self) -> Guarded {
        self.process
    }
}

fn program(home: &Home, config: &MongoConfig) -> Program {
    let (stop, patience) = match config.worth {
        Data::Kept => (StopSignal::Term, Duration::from_secs(20)),
        Data::Throwaway => (StopSignal::Kill, Duration::ZERO),
    };
    Program::new(&config.name, Server::Mongo.folder(home).join("mongod"), &config.log)
        .args(["--dbpath".into(), config.data.clone()])
        .args(["--port".into(), config.port.to_string()])
        .args(["--bind_ip", "127.0.0.1", "--nounixsocket"])
        .args(arguments_of(config.worth))
        .stopped_by(stop, patience)
}

/// How a server is started, wherever it listens and its data is.
pub fn arguments_of(worth: Data) -> [&'static str; 8] {
    // Nothing of the oplog behind the last checkpoint is dropped, however full it is: a test that fills it waits so long.
    let [cache, oplog, checkpoint] = match worth {
        Data::Kept => ["--wiredTigerCacheSizeGB=0.5", "--oplogSize=1024", "--syncdelay=60"],
        Data::Throwaway => ["--wiredTigerCacheSizeGB=0.25", "--oplogSize=128", "--syncdelay=1"],
    };
    [
        "--replSet=rs0",
        "--quiet",
        cache,
        oplog,
        checkpoint,
        // A client that is killed takes its connection with it, but not its transaction: whatever that has written stays
        // locked until the server gives it up, by default after a minute.
        "--setParameter=transactionLifetimeLimitSeconds=5",
        // Nobody else could take over, so waiting for that when told to stop helps nobody.
        "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
        "--setParameter=diagnosticDataCollectionEnabled=false",
    ]
}

async fn admin(port: u16) -> mongodb::error::Result<Database> {
    let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(Duration::from_millis(200));
    options.heartbeat_freq = Some(Duration::from_millis(500));
    Ok(Client::with_options(options)?.database("admin"))
}

/// One look at a server, by its database `admin`: whether it is the primary of a replica set of one, as `host` (a name
/// and a port). The look also makes sure that it has that replica set, so ask again.
pub async fn is_primary(admin: &Database, host: &str) -> bool {
    let Ok(hello) = admin.run_command(doc! { "hello": 1 }).await else { return false };
    if hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return true;
    }
    // The next look tells whether it helped.
    let _ = set_up(admin, host).await;
    false
}

/// Initiates the replica set, or tells an existing one that its only member has moved to another port.
async fn set_up(admin: &Database, host: &str) -> mongodb::error::Result<()> {
    let found = match admin.run_command(doc! { "replSetGetConfig": 1 }).await {
        Ok(found) => found,
        Err(error) if is_not_initialized(&error) => {
            let config = doc! { "_id": "rs0", "members": [{ "_id": 0, "host": host }] };
            return admin.run_command(doc! { "replSetInitiate": config }).await.map(drop);
        }
        Err(error) => return Err(error),
    };
    let Some(mut config) = found.get_document("config").ok().cloned() else { return Ok(()) };
    let Ok(members) = config.get_array_mut("members") else { return Ok(()) };
    let Some(member) = members.first_mut().and_then(|member| member.as_document_mut()) else { return Ok(()) };
    if member.get_str("host").is_ok_and(|known| known == host) {
        return Ok(());
    }
    member.insert("host", host);
    reconfigure(admin, config).await
}

async fn reconfigure(admin: &Database, mut config: Document) -> mongodb::error::Result<()> {
    let version = config.get_i32("version").unwrap_or(0).saturating_add(1);
    config.insert("version", version);
    admin.run_command(doc! { "replSetReconfig": config, "force": true }).await.map(drop)
}

fn is_not_initialized(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(refusal) if refusal.code == NOT_YET_INITIALIZED)
}
