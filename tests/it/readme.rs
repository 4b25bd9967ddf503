//! What the README has its readers type, typed: each of its requests is answered as it says.

use std::process::Command;

use contracts::CustomerId;
use serde_json::Value;
use shop::Service;
use web::access::Principal;

use super::world::{PATIENCE, World};

const README: &str = include_str!("../../README.md");

/// A reader with a shop of their own: theirs is the first invoice.
struct Reader {
    world: World,
    token: String,
}

#[tokio::test]
async fn the_requests_of_the_readme_are_answered_as_it_says() {
    let reader = Reader::new().await;
    let [introduction, confirmed, declined, out_of_stock, invoice, history] = requests();
    let who = reader.types(&introduction, "");
    assert_eq!(who[0]["name"], "Ada Lovelace");

    let confirmed = reader.order(&confirmed);
    assert_eq!(confirmed["status"], "confirmed");
    let declined = reader.order(&declined);
    assert_eq!(declined["cancel_reason"]["code"], "payment_declined", "{declined}");
    let out_of_stock = reader.order(&out_of_stock);
    assert_eq!(out_of_stock["cancel_reason"]["code"], "out_of_stock", "{out_of_stock}");
    assert_eq!(reader.world.stock("HAM-300").await.1, 2, "what was held for the declined one is released");
    assert_eq!(reader.world.payment(id(&out_of_stock)).await, "voided");

    let page = async {
        while !reader.runs(&invoice, "").contains("<title>Invoice INV-1") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, page).await.expect("the invoice can be read");

    let id = confirmed["id"].as_str().unwrap();
    let a_second_later = async {
        loop {
            let answers = reader.types(&history, id);
            assert_eq!(answers.len(), 4, "{answers:?}");
            // `date` tells whole seconds, and there was no order when this one began.
            if answers[3]["code"] != "order_not_found" {
                return answers;
            }
        }
    };
    let answers = tokio::time::timeout(PATIENCE, a_second_later).await.expect("a second passes");
    assert_eq!(answers[1]["data"][0]["event"]["type"], "order.placed.v2");
    assert_eq!((&answers[2]["version"], &answers[2]["status"]), (&1.into(), &"pending".into()));
    assert_eq!(answers[3]["id"], id, "{answers:?}");
}

/// The blocks of the README that ask the shop something.
fn requests() -> [String; 6] {
    let blocks = README.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    let requests: Vec<String> = blocks.filter(|block| block.starts_with("curl")).map(str::to_owned).collect();
    requests.try_into().unwrap_or_else(|found: Vec<_>| panic!("the README asks something else: {found:#?}"))
}

fn id(order: &Value) -> uuid::Uuid {
    order["id"].as_str().unwrap().parse().unwrap()
}

impl Reader {
    async fn new() -> Self {
        let world = World::new("readme", 1).await;
        world.product("ANVIL-50", 0).await; // The last of the catalogue, of which tests have the first.
        let (_, rest) = README.split_once("cargo shop token --customer ").unwrap();
        let customer: CustomerId = rest.split_once(')').unwrap().0.parse().unwrap();
        let token = world.shop.token(&Principal::Customer(customer)).unwrap();
        Self { world, token }
    }

    fn order(&self, request: &str) -> Value {
        self.types(request, "").remove(0)
    }

    /// What is answered to `requests`, with `id` as their `$ID`.
    fn types(&self, requests: &str, id: &str) -> Vec<Value> {
        let said = self.runs(requests, id);
        let answers: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&said).into_iter().collect();
        answers.unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// What a shell prints for `requests`.
    fn runs(&self, requests: &str, id: &str) -> String {
        let mut script = requests.to_owned();
        for (address, service) in [("localhost:7001", Service::Order), ("localhost:7003", Service::Billing)] {
            script = script.replace(address, &self.world.shop.url(service));
        }
        let mut shell = Command::new("bash");
        let ran = shell.args(["-euc", &script]).env("TOKEN", &self.token).env("ID", id).output().unwrap();
        assert!(ran.status.success(), "{script}{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }
}
