//! Keys and passwords: made once, kept in the shop's folder, and given out.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::host;
use crate::{
    Service, ShopError, State,
    state::Stores,
    token::{self, write_for_owner},
};

/// Makes what is missing of keys and passwords, and writes below `home`, for each container, what it needs and no more:
///
/// | folder | holds |
/// |---|---|
/// | `postgres-orders`, `postgres-billing` | `password` of the superuser |
/// | `mongo` | `password` of root, and the `keyfile` of the replica set |
/// | `order`, `inventory`, `billing` | `env`, with the service's own login, and the `public.pem` that tokens are checked with |
/// | `provider` | `env`, with what webhooks are signed with |
/// | `shop` | all of it, the private key, and how everything is reached |
///
/// Every file is for its owner alone. So this runs as the user of all these containers, which is that of the official
/// images of the databases.
///
/// # Errors
/// [`ShopError::System`] if a folder is missing or cannot be written to.
pub fn make_secrets(home: &Path) -> Result<(), ShopError> {
    let shop = home.join("shop");
    token::make_keys(&shop)?;
    let logins = Logins::of(&shop)?;
    let webhooks = token::webhook_secret(&shop)?;
    let public_key = fs::read_to_string(token::public_key_file(&shop)).map_err(ShopError::system("reading our key"))?;

    let write = |container: &str, file: &str, text: &str| write_for_owner(&home.join(container).join(file), text);
    write(host::POSTGRES_ORDERS, "password", &logins.orders_admin)?;
    write(host::POSTGRES_BILLING, "password", &logins.billing_admin)?;
    write(host::MONGO, "password", &logins.inventory_admin)?;
    write(host::MONGO, "keyfile", &logins.replica_set)?;
    write("order", "env", &variable("ORDER_DATABASE_URL", &logins.orders("order_service", &logins.orders_service)))?;
    write("inventory", "env", &variable("INVENTORY_MONGODB_URL", &logins.inventory_as_service()))?;
    let billing = logins.billing("billing_service", &logins.billing_service);
    let billing = [variable("BILLING_DATABASE_URL", &billing), variable("PROVIDER_WEBHOOK_SECRET", &webhooks)];
    write("billing", "env", &billing.concat())?;
    write(host::PROVIDER, "env", &variable("WEBHOOK_SECRET", &webhooks))?;
    for service in Service::ALL {
        write(service.name(), "public.pem", &public_key)?;
    }
    logins.state().write_composed(&shop).map_err(ShopError::system("writing down how everything is reached"))
}

/// One line that a shell can read. Our values hold no quote: digits, letters, and what URLs are made of.
fn variable(name: &str, value: &str) -> String {
    format!("{name}='{value}'\n")
}

/// The passwords of the stores: of who may do anything, and of the service.
#[derive(Serialize, Deserialize)]
pub(super) struct Logins {
    orders_admin: String,
    orders_service: String,
    billing_admin: String,
    billing_service: String,
    inventory_admin: String,
    inventory_service: String,
    /// What members of the replica set know each other by.
    replica_set: String,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Logins {
    /// Those of the shop in `folder`; made if there are none.
    pub(super) fn of(folder: &Path) -> Result<Self, ShopError> {
        let path = token::keys(folder).join("logins.json");
        if let Some(known) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(known);
        }
        let new = || format!("{:032x}", rand::random::<u128>());
        let logins = Self {
            orders_admin: new(),
            orders_service: new(),
            billing_admin: new(),
            billing_service: new(),
            inventory_admin: new(),
            inventory_service: new(),
            replica_set: new(),
        };
        let text = serde_json::to_string_pretty(&logins).expect("texts are always JSON");
        write_for_owner(&path, &text)?;
        Ok(logins)
    }

    /// Where `role` finds the orders.
    fn orders(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@{}:5432/orders", host::POSTGRES_ORDERS)
    }

    fn billing(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@{}:5432/billing", host::POSTGRES_BILLING)
    }

    /// Where the superuser prepares the databases of orders and of billing, and the passwords that the services shall have.
    pub(super) fn postgres(&self) -> [(&'static str, String, &str); 2] {
        let url = |host, password| format!("postgres://postgres:{password}@{host}:5432/postgres");
        [
            ("orders", url(host::POSTGRES_ORDERS, &self.orders_admin), &self.orders_service),
            ("billing", url(host::POSTGRES_BILLING, &self.billing_admin), &self.billing_service),
        ]
    }

    fn inventory(&self, user: &str, password: &str, source: &str) -> String {
        let options = format!("replicaSet=rs0&directConnection=true&authSource={source}");
        format!("mongodb://{user}:{password}@{}:27017/inventory?{options}", host::MONGO)
    }

    pub(super) fn inventory_as_root(&self) -> String {
        self.inventory("root", &self.inventory_admin, "admin")
    }

    fn inventory_as_service(&self) -> String {
        self.inventory("inventory_service", &self.inventory_service, "inventory")
    }

    /// The password that the inventory service shall have.
    pub(super) fn inventory_service(&self) -> &str {
        &self.inventory_service
    }

    /// How everything is reached from a container, by who may do anything.
    fn state(&self) -> State {
        let services = [(Service::Order, 7001), (Service::Inventory, 7002), (Service::Billing, 7003)];
        let url = |(service, port): (Service, u16)| (service, vec![format!("http://{}:{port}", service.name())]);
        let stores = Stores {
            orders: self.orders("postgres", &self.orders_admin),
            billing: self.billing("postgres", &self.billing_admin),
            inventory: self.inventory_as_root(),
            brokers: format!("{}:9092", host::KAFKA),
            provider: format!("http://{}:7016", host::PROVIDER),
        };
        let services = services.into_iter().map(url).collect::<BTreeMap<_, _>>();
        // No process of ours runs them.
        State { pid: 0, ready: true, services, stores, parts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use web::access::{Principal, Verifier};

    use super::*;

    const FOLDERS: [&str; 8] =
        ["shop", "postgres-orders", "postgres-billing", "mongo", "order", "inventory", "billing", "provider"];

    fn made() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        make_secrets(home.path()).unwrap();
        home
    }

    fn read(home: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(home.path().join(file)).unwrap()
    }

    #[test]
    fn no_container_gets_the_password_of_another() {
        let home = made();
        let logins = Logins::of(&home.path().join("shop")).unwrap();
        let serde_json::Value::Object(all) = serde_json::to_value(&logins).unwrap() else { panic!("it has fields") };
        let holders = [
            ("orders_admin", "postgres-orders"),
            ("orders_service", "order"),
            ("billing_admin", "postgres-billing"),
            ("billing_service", "billing"),
            ("inventory_admin", "mongo"),
            ("inventory_service", "inventory"),
            ("replica_set", "mongo"),
        ];
        assert_eq!(all.len(), holders.len());
        for (name, holder) in holders {
            let password = all[name].as_str().unwrap();
            for folder in FOLDERS.into_iter().filter(|folder| *folder != "shop") {
                let files = fs::read_dir(home.path().join(folder)).unwrap();
                let told = files.flatten().any(|file| fs::read_to_string(file.path()).unwrap().contains(password));
                assert_eq!(told, folder == holder, "{name} in {folder}");
            }
        }
    }

    #[test]
    fn what_is_made_again_stays_as_it_was_and_is_for_its_owner_alone() {
        let home = made();
        let files = ["mongo/keyfile", "order/env", "provider/env", "shop/compose.json", "shop/keys/private.pem"];
        let before = files.map(|file| read(&home, file));
        make_secrets(home.path()).unwrap();
        for (file, before) in files.into_iter().zip(before) {
            assert_eq!(read(&home, file), before, "{file}");
            let mode = fs::metadata(home.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
        }
    }

    #[test]
    fn tokens_that_an_operator_makes_are_believed_by_each_service() {
        let home = made();
        let shop = home.path().join("shop");
        assert_eq!(State::read(&shop).unwrap().url(Service::Billing), "http://billing:7003", "no lock is asked");
        let token = token::sign(&shop, &Principal::Operator, std::time::Duration::from_secs(60)).unwrap();
        for service in Service::ALL {
            let verifier = Verifier::from_pem(&read(&home, &format!("{}/public.pem", service.name()))).unwrap();
            assert_eq!(verifier.verify(&token), Ok(Principal::Operator));
        }
    }

    #[test]
    fn a_volume_that_is_not_there_is_named() {
        let home = made();
        fs::remove_dir_all(home.path().join("billing")).unwrap();
        let said = make_secrets(home.path()).unwrap_err().to_string();
        assert!(said.contains("billing/env"), "{said}");
    }
}
