//! Each service against what its own OpenAPI document promises: schemathesis makes up requests, good ones and bad ones, and
//! holds every answer against the document. It takes long and much of one core, so this module is the first by name.

mod report;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use servers::{Home, Program, fetch};
use shop::Service;
use tokio::time::{Instant, timeout};
use web::access::Principal;

use super::{
    life,
    world::{Customer, OK, PATIENCE, World},
};
use report::{Report, Tally};

const MODULE: &str = "schemathesis.cli";

const SCHEMATHESIS: fetch::PythonTool = fetch::PythonTool {
    name: "schemathesis 4.32.5",
    folder: "schemathesis-4.32.5",
    requirements: include_str!("api/requirements.txt"),
    module: MODULE,
    size: 20_000_000,
};

/// Examples of each operation in the suite, good and bad together. What is not random, such as each bound of each field and each method
/// that there is not, comes on top, and is always whole.
const FEW: u32 = 8;

/// What is not checked by schemathesis. `positive_data_acceptance` knows statuses only: what a schema cannot say (that a
/// warehouse exists, that a SKU stands once in an order) is refused with the same status as what it does say. Its place is
/// taken by [`Report::wrong`], which knows each such reason.
const NOT_CHECKED: &str = "positive_data_acceptance";

/// Statuses of the load's making, not of the request's: they would hide what a handler does. None may come.
const TURNED_AWAY: [u16; 2] = [429, 503];

/// Every answer of every service, to customers and operators, is one that its document promises; and whatever came, the
/// books add up.
#[tokio::test]
async fn each_api_does_what_its_document_says() {
    held_against_the_documents("schemathesis", FEW, Duration::from_secs(240)).await;
}

#[tokio::test]
#[ignore = "takes some minutes; the README says how to run it"]
async fn each_api_does_what_its_document_says_for_200_examples_of_each_operation() {
    held_against_the_documents("schemathesis-200", 200, Duration::from_secs(1_800)).await;
}

async fn held_against_the_documents(name: &str, examples: u32, at_most: Duration) {
    let tool = fetch::python_tool(&Home::of_this_user(), &SCHEMATHESIS).await.unwrap();
    let world = World::new(name, 1).await;
    let customer = fill(&world).await;
    let operator = world.shop.token(&Principal::Operator).unwrap();
    let (begun, mut all) = (Instant::now(), BTreeMap::new());
    let mut wrong = String::new();
    for service in Service::ALL {
        let url = world.shop.url(service);
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for (who, token) in [("an operator", &operator), ("a customer", &customer.token)] {
            let folder = world.shop.folder().join(format!("schemathesis-{service:?}-{}", who.replace(' ', "-")));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("schemathesis.toml"), settings(&Known::of(&world, token).await, examples)).unwrap();
            let run = Run { tool: &tool, url: &url, token, folder: &folder };
            let report = timeout(at_most, run.end()).await.expect("schemathesis ends in time");
            report.add_to(&mut tallies);
            let found = report.wrong(&TURNED_AWAY);
            if !found.is_empty() {
                write!(wrong, "{service:?} as {who}, {}:\n{found}", report.seed()).unwrap();
            }
        }
        eprintln!("{service:?}, {examples} examples of each operation:\n{}", report::table(&tallies));
        all.extend(tallies);
    }
    let requests: usize = all.values().map(Tally::requests).sum();
    eprintln!("{requests} requests to {} operations in {:?}", all.len(), begun.elapsed());
    assert!(wrong.is_empty(), "{wrong}");
    was_worth_it(&all);
    world.audit().await;
}

/// Most operations did what they are for, and all of them came as far as to refuse for a reason of their own.
fn was_worth_it(all: &BTreeMap<String, Tally>) {
    assert!(all.len() > 25, "{} operations", all.len());
    let idle: Vec<&String> = all.iter().filter(|(_, tally)| !tally.was_reached()).map(|(name, _)| name).collect();
    assert!(idle.is_empty(), "nothing came through to {idle:?}");
    let without: Vec<&str> =
        all.iter().filter(|(_, tally)| tally.succeeded == 0).map(|(name, _)| name.as_str()).collect();
    // A webhook has to be signed, and nothing is parked that could be resumed; the others are a matter of chance.
    assert!(without.len() * 4 <= all.len(), "of {} operations these never succeeded: {without:?}", all.len());
}

/// Orders of every kind; and a customer who has some, one of them waiting to be shipped.
async fn fill(world: &World) -> Customer {
    life::each_way(world).await;
    world.product("FUZZ", 9_999).await;
    let customer = world.customer();
    for card in [OK, OK, "tok_authorize_declined"] {
        customer.buy("FUZZ", 2, card).await;
    }
    customer
}

/// What there is in the shop, as far as the bearer of a token may see it.
struct Known {
    orders: Vec<String>,
    customers: Vec<String>,
    skus: Vec<String>,
    invoices: Vec<String>,
}

impl Known {
    async fn of(world: &World, token: &str) -> Self {
        let list = async |service, path: &str, name: &'static str| {
            let url = format!("{}{path}?limit=50", world.shop.url(service));
            let asked = async {
                loop {
                    let answer = reqwest::Client::new().request(Method::GET, &url).bearer_auth(token).send().await;
                    let list: Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
                    let found =
                        list["data"].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap().to_owned());
                    let found: Vec<String> = found.collect();
                    // An invoice comes some time after its order.
                    if !found.is_empty() {
                        return found;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            timeout(PATIENCE, asked).await.expect("the shop is filled")
        };
        Self {
            orders: list(Service::Order, "/v1/orders", "id").await,
            customers: list(Service::Order, "/v1/orders", "customer").await,
            skus: list(Service::Inventory, "/v1/products", "sku").await,
            invoices: list(Service::Billing, "/v1/invoices", "number").await,
        }
    }
}

/// The settings of schemathesis. Random ids name nothing, so most requests name what there is.
fn settings(known: &Known, examples: u32) -> String {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let bound: [(&str, Vec<String>, &[&str]); 7] = [
        ("order", known.orders.clone(), &["path.id", "path.order", "body.order"]),
        ("customer", known.customers.clone(), &["path.customer"]),
        ("sku", known.skus.clone(), &["path.sku", "body.lines[*].sku"]),
        ("number", known.invoices.clone(), &["path.number"]),
        ("warehouse", texts(&["HAMBURG", "LYON", "MILAN"]), &["body.warehouse"]),
        ("card", texts(&[OK, "tok_authorize_declined", "tok_capture_declined"]), &["body.payment_token"]),
        ("seen", texts(&["*"]), &["header.If-Match"]),
    ];
    // The suite asks the same each time; whoever asks for more shall see what nobody has seen yet.
    let same = examples == FEW;
    let mut settings =
        format!("[generation]\nmax-examples = {examples}\ndeterministic = {same}\ndatabase = \"none\"\n");
    for (name, values, _) in &bound {
        write!(settings, "[dictionaries.{name}]\nvalues = {}\n", json!(values)).unwrap();
    }
    settings.push_str("[parameters]\n");
    for (name, _, places) in &bound {
        for place in *places {
            writeln!(settings, "{} = {{ dictionary = \"{name}\", probability = 0.75 }}", json!(place)).unwrap();
        }
    }
    settings
}

/// One run of schemathesis: one service, one token.
struct Run<'a> {
    tool: &'a Path,
    url: &'a str,
    token: &'a str,
    folder: &'a PathBuf,
}

impl Run<'_> {
    async fn end(&self) -> Report {
        let (said, events) = (self.folder.join("said.txt"), self.folder.join("events.ndjson"));
        let url = format!("{}/openapi.json", self.url);
        let bearer = format!("Authorization: Bearer {}", self.token);
        let shown = events.display().to_string();
        let args = ["-m", MODULE, "run", &url, "--header", &bearer, "--exclude-checks", NOT_CHECKED];
        let args = [&args[..], &["--continue-on-failure", "--no-color", "--request-timeout", "60"]].concat();
        let args = [&args[..], &["--report", "ndjson", "--report-ndjson-path", &shown]].concat();
        let run = Program::new("schemathesis", "python3", &said).args(args).in_folder(self.folder);
        let run = run.env("PYTHONPATH", self.tool).env("PYTHONNOUSERSITE", "1").start().unwrap();
        let status = run.ended().await;
        let said = fs::read_to_string(&said).unwrap();
        // 1: it has found something; what, is in its report.
        assert!(matches!(status.code(), Some(0 | 1)), "schemathesis failed: {said}");
        Report::read(&events, said)
    }
}
