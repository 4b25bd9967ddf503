//! What runs where: every process of one shop, with its folder, its log, its port and how it is started.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use servers::{
    Data, Guarded, Home, Kafka, KafkaConfig, Mongo, MongoConfig, Postgres, PostgresConfig, Program, StopSignal,
    require_free_port, require_writable, wait_until_healthy,
};

use crate::{
    Options, Service, ShopError, databases, programs,
    state::{PartState, State, Stores, logs},
    token,
};

/// How long a service may take to become ready: it brings its schema up to date first.
const SERVICE_START: Duration = Duration::from_secs(60);

/// What the payment provider has been asked and has done, below the shop's folder.
const PROVIDER_LOG: &str = "provider/provider.log";

/// One shop, before any of it runs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    servers: Home,
    bin_dir: PathBuf,
    worth: Data,
    settings: Vec<(&'static str, String)>,
    passwords: Passwords,
    ports: StorePorts,
    /// In the order of starting: servers, then services.
    pub(crate) parts: Vec<Part>,
    http: reqwest::Client,
}

#[derive(Debug, Clone, Copy)]
struct StorePorts {
    orders: u16,
    billing: u16,
    inventory: u16,
    kafka: u16,
    kafka_controller: u16,
    provider: u16,
}

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) shown: String,
    pub(crate) port: u16,
    pub(crate) kind: Kind,
}

/// What kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PostgresOrders,
    PostgresBilling,
    Mongo,
    Kafka,
    /// The payment provider, which is no service of ours.
    Provider,
    Service(Service),
}

impl Kind {
    /// Servers start before services and stop after them.
    pub(crate) fn is_service(self) -> bool {
        match self {
            Self::PostgresOrders | Self::PostgresBilling | Self::Mongo | Self::Kafka | Self::Provider => false,
            Self::Service(_) => true,
        }
    }
}

/// Made at the first start, kept in the shop's folder, shown to nobody.
#[derive(Clone, Serialize, Deserialize)]
struct Passwords {
    orders_admin: String,
    orders_service: String,
    billing_admin: String,
    billing_service: String,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Plan {
    /// Chooses ports, makes folders, keys and passwords, and makes sure that every port is free and every program there.
    pub(crate) fn make(options: &Options) -> Result<Self, ShopError> {
        let at = |offset| options.ports.at(offset);
        let ports = StorePorts {
            orders: at(11)?,
            billing: at(12)?,
            inventory: at(13)?,
            kafka: at(14)?,
            kafka_controller: at(15)?,
            provider: at(16)?,
        };
        let mut parts = vec![
            part("pg-orders", "PostgreSQL (orders)", ports.orders, Kind::PostgresOrders),
            part("pg-billing", "PostgreSQL (billing)", ports.billing, Kind::PostgresBilling),
            part("mongo", "MongoDB (inventory)", ports.inventory, Kind::Mongo),
            part("kafka", "Kafka", ports.kafka, Kind::Kafka),
            part("provider", "payment provider", ports.provider, Kind::Provider),
        ];
        for replica in 1..=options.replicas {
            for (place, service) in (1..).zip(Service::ALL) {
                let port = at(100 * (replica - 1) + place)?;
                let name = if replica == 1 { service.name().into() } else { format!("{}-{replica}", service.name()) };
                parts.push(part(&name, &format!("{name} service"), port, Kind::Service(service)));
            }
        }
        for part in &parts {
            require_free_port(part.port, &part.shown)?;
        }
        require_free_port(ports.kafka_controller, "Kafka")?;
        require_programs(&options.bin_dir)?;
        require_writable(&logs(&options.folder))?;
        token::make_keys(&options.folder)?;
        Ok(Self {
            folder: options.folder.clone(),
            servers: options.servers.clone(),
            bin_dir: options.bin_dir.clone(),
            worth: options.worth,
            settings: options.settings.clone(),
            passwords: Passwords::of(&options.folder)?,
            ports,
            parts,
            http: reqwest::Client::new(),
        })
    }

    /// What is written down for the other commands; nothing runs yet.
    pub(crate) fn state(&self) -> State {
        let mut services: BTreeMap<Service, Vec<String>> = BTreeMap::new();
        for part in &self.parts {
            if let Kind::Service(service) = part.kind {
                services.entry(service).or_default().push(part.url());
            }
        }
        let state = |part: &Part| PartState {
            name: part.name.clone(),
            shown: part.shown.clone(),
            port: part.port,
            pid: None,
            restarts: 0,
        };
        let parts = self.parts.iter().map(state).collect();
        State { pid: std::process::id(), ready: false, services, stores: self.stores(), parts }
    }

    /// How to reach the stores, as users that may do anything there.
    fn stores(&self) -> Stores {
        let StorePorts { orders, billing, inventory, kafka, provider, .. } = self.ports;
        let Passwords { orders_admin, billing_admin, .. } = &self.passwords;
        Stores {
            orders: format!("postgres://postgres:{orders_admin}@127.0.0.1:{orders}/orders"),
            billing: format!("postgres://postgres:{billing_admin}@127.0.0.1:{billing}/billing"),
            inventory: format!("mongodb://127.0.0.1:{inventory}/inventory?replicaSet=rs0&directConnection=true"),
            brokers: format!("127.0.0.1:{kafka}"),
            provider: format!("http://127.0.0.1:{provider}"),
        }
    }

    /// Starts `part` and waits until it is healthy.
    pub(crate) async fn start(&self, part: &Part) -> Result<Guarded, ShopError> {
        match part.kind {
            Kind::PostgresOrders => self.start_postgres(part, "orders", "order_service").await,
            Kind::PostgresBilling => self.start_postgres(part, "billing", "billing_service").await,
            Kind::Mongo => Ok(Mongo::start(&self.servers, &self.mongo(part)).await?.into_process()),
            Kind::Kafka => Ok(Kafka::start(&self.servers, &self.kafka(part)).await?.into_process()),
            Kind::Provider => self.start_provider(part).await,
            Kind::Service(service) => self.start_service(part, service).await,
        }
    }

    async fn start_postgres(
        &self,
        part: &Part,
        database: &'static str,
        role: &'static str,
    ) -> Result<Guarded, ShopError> {
        let (admin, service) = self.passwords.of_database(part.kind);
        let config = PostgresConfig {
            name: part.shown.clone(),
            data: self.folder.join(&part.name),
            log: self.log(part),
            port: part.port,
            password: Some(admin.to_owned()),
            worth: self.worth,
            log_limit_mb: None,
        };
        let server = Postgres::start(&self.servers, &config).await?;
        let prepared = databases::prepare(&server.url("postgres"), database, role, service).await;
        prepared.map_err(|source| ShopError::Database { database, source })?;
        Ok(server.into_process())
    }

    fn mongo(&self, part: &Part) -> MongoConfig {
        MongoConfig {
            name: part.shown.clone(),
            data: self.folder.join(&part.name),
            log: self.log(part),
            port: part.port,
            worth: self.worth,
        }
    }

    fn kafka(&self, part: &Part) -> KafkaConfig {
        KafkaConfig {
            name: part.shown.clone(),
            data: self.folder.join(&part.name),
            log: self.log(part),
            port: part.port,
            controller_port: self.ports.kafka_controller,
            worth: self.worth,
        }
    }

    async fn start_provider(&self, part: &Part) -> Result<Guarded, ShopError> {
        let log = self.folder.join(PROVIDER_LOG);
        require_writable(log.parent().unwrap_or(&self.folder))?;
        let mut program = self.program(part, programs::PROVIDER).env("LOG_FILE", log);
        if let Some(billing) = self.parts.iter().find(|part| part.kind == Kind::Service(Service::Billing)) {
            program = program
                .env("WEBHOOK_URL", format!("{}/v1/provider/webhooks", billing.url()))
                .env("WEBHOOK_SECRET", token::webhook_secret(&self.folder)?);
        }
        self.start_program(part, program).await
    }

    async fn start_service(&self, part: &Part, service: Service) -> Result<Guarded, ShopError> {
        let (variable, url) = self.database_of(service);
        let Stores { brokers, provider, .. } = self.stores();
        let mut program = self
            .program(part, service.name())
            .env(variable, url)
            .env("KAFKA_BROKERS", brokers)
            .env("PROVIDER_URL", provider)
            .env("TOKEN_PUBLIC_KEY_FILE", token::public_key_file(&self.folder));
        if service == Service::Billing {
            program = program.env("PROVIDER_WEBHOOK_SECRET", token::webhook_secret(&self.folder)?);
        }
        for (variable, value) in &self.settings {
            program = program.env(*variable, value);
        }
        self.start_program(part, program).await
    }

    /// The program `name` with what all of ours are told.
    fn program(&self, part: &Part, name: &str) -> Program {
        let patience = match self.worth {
            Data::Kept => Duration::from_secs(15),
            Data::Throwaway => Duration::from_secs(2),
        };
        Program::new(&part.shown, self.bin_dir.join(name), self.log(part))
            .env("HTTP_ADDR", format!("127.0.0.1:{}", part.port))
            .stopped_by(StopSignal::Term, patience)
    }

    async fn start_program(&self, part: &Part, program: Program) -> Result<Guarded, ShopError> {
        require_free_port(part.port, &part.shown)?;
        let process = program.start()?;
        let ready = format!("{}/health/ready", part.url());
        let ask = || async { self.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) };
        wait_until_healthy(&process, SERVICE_START, ask).await?;
        Ok(process)
    }

    /// The variable that tells `service` its database, and the URL, as its own role.
    fn database_of(&self, service: Service) -> (&'static str, String) {
        let StorePorts { orders, billing, .. } = self.ports;
        let Passwords { orders_service, billing_service, .. } = &self.passwords;
        match service {
            Service::Order => {
                ("ORDER_DATABASE_URL", format!("postgres://order_service:{orders_service}@127.0.0.1:{orders}/orders"))
            }
            Service::Inventory => ("INVENTORY_MONGODB_URL", self.stores().inventory),
            Service::Billing => (
                "BILLING_DATABASE_URL",
                format!("postgres://billing_service:{billing_service}@127.0.0.1:{billing}/billing"),
            ),
        }
    }

    pub(crate) fn log(&self, part: &Part) -> PathBuf {
        logs(&self.folder).join(format!("{}.log", part.name))
    }
}

impl Part {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Passwords {
    /// Those of the shop in `folder`; made if there are none.
    fn of(folder: &Path) -> Result<Self, ShopError> {
        let path = token::keys(folder).join("passwords.json");
        if let Some(known) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(known);
        }
        let new = || format!("{:032x}", rand::random::<u128>());
        let passwords =
            Self { orders_admin: new(), orders_service: new(), billing_admin: new(), billing_service: new() };
        let text = serde_json::to_string_pretty(&passwords).expect("four texts are always JSON");
        token::write_for_owner(&path, &text)?;
        Ok(passwords)
    }

    /// The superuser's and the service's password of a Postgres.
    fn of_database(&self, kind: Kind) -> (&str, &str) {
        match kind {
            Kind::PostgresBilling => (&self.billing_admin, &self.billing_service),
            Kind::PostgresOrders | Kind::Mongo | Kind::Kafka | Kind::Provider | Kind::Service(_) => {
                (&self.orders_admin, &self.orders_service)
            }
        }
    }
}

fn part(name: &str, shown: &str, port: u16, kind: Kind) -> Part {
    Part { name: name.to_owned(), shown: shown.to_owned(), port, kind }
}

fn require_programs(bin_dir: &Path) -> Result<(), ShopError> {
    let missing = programs::NAMES.map(|name| bin_dir.join(name)).into_iter().find(|program| !program.is_file());
    missing.map_or(Ok(()), |program| Err(ShopError::NoProgram(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(token::keys(folder.path())).unwrap();
        assert_eq!(format!("{:?}", Passwords::of(folder.path()).unwrap()), "***");
    }
}
