//! One order of every outcome, and the story of each: which message, when, and what was undone.

mod plot;
mod story;

use std::{fmt, path::Path, time::Duration};

use anyhow::Context;
use contracts::CustomerId;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;
use web::access::Principal;

use crate::{Service, State, status, token};
use plot::{Act, PLOTS, Plot};
use story::Story;

/// Whatever has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at an order.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the tokens are valid.
const TOKENS_VALID: Duration = Duration::from_secs(600);

/// The two products of the demo, and where each lies.
const PRODUCTS: [(&str, &str, &str); 2] = [("DEMO-CUP", "Demo cup", "HAMBURG"), ("DEMO-POT", "Demo pot", "LYON")];
/// So many pieces of each come in for each run: more than its orders take.
const PIECES: u32 = 20;
/// More pieces than there ever are.
const TOO_MANY: u32 = 10_000;

/// What has become of the orders.
#[derive(Debug)]
pub struct Report {
    stories: Vec<Story>,
}

impl Report {
    /// Whether every order ended as was promised.
    pub fn is_as_promised(&self) -> bool {
        self.stories.len() == PLOTS.len() && self.stories.iter().all(Story::is_as_promised)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for story in &self.stories {
            writeln!(f, "{story}")?;
        }
        let kept = self.stories.iter().filter(|story| story.is_as_promised()).count();
        write!(f, "{kept} of {} orders ended as promised.", PLOTS.len())
    }
}

/// Lives every plot at the same time, at the shop in `folder`, and tells what happened.
///
/// # Errors
/// A service does not answer, or answers what it must not.
pub async fn run(state: &State, folder: &Path) -> anyhow::Result<Report> {
    let stage = Stage::set(state, folder).await?;
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {msg}").expect("the template is one");
    let bar = ProgressBar::new(PLOTS.len() as u64).with_style(style.progress_chars("=> ")).with_prefix("ordering");
    let mut lives = JoinSet::new();
    for (place, plot) in PLOTS.iter().enumerate() {
        let (stage, bar) = (stage.clone(), bar.clone());
        lives.spawn(async move {
            let story = timeout(PATIENCE, stage.live(plot)).await;
            let story = story.unwrap_or_else(|_| anyhow::bail!("it does not end within {} s", PATIENCE.as_secs()));
            bar.set_message(plot.name);
            bar.inc(1);
            story.map(|story| (place, story)).with_context(|| format!("the order that is {}", plot.name))
        });
    }
    let mut stories = Vec::new();
    while let Some(lived) = lives.join_next().await {
        stories.push(lived.context("a life was cut off")??);
    }
    bar.finish_and_clear();
    stories.sort_by_key(|(place, _)| *place);
    Ok(Report { stories: stories.into_iter().map(|(_, story)| story).collect() })
}

/// Where the orders live: the services, a customer, an operator.
#[derive(Clone)]
struct Stage {
    client: Client,
    order: String,
    inventory: String,
    customer: String,
    operator: String,
}

impl Stage {
    /// Introduces the customer, and brings in the products.
    async fn set(state: &State, folder: &Path) -> anyhow::Result<Self> {
        let id = CustomerId::mint();
        let stage = Self {
            client: Client::new(),
            order: state.url(Service::Order).to_owned(),
            inventory: state.url(Service::Inventory).to_owned(),
            customer: token::sign(folder, &Principal::Customer(id), TOKENS_VALID)?,
            operator: token::sign(folder, &Principal::Operator, TOKENS_VALID)?,
        };
        let who = json!({ "name": "Ada Lovelace", "address": ["Ockham Park", "Surrey"], "country": "GB" });
        let customer = stage.client.put(format!("{}/v1/customers/{id}", state.url(Service::Billing))).json(&who);
        done(customer.bearer_auth(&stage.customer)).await?;
        for (sku, name, warehouse) in PRODUCTS {
            let price = json!({ "amount": 1290, "currency": "EUR" });
            let product = json!({ "name": name, "description": "It is only ever sold by `cargo shop demo`.",
                                  "category": "Demo", "price": price, "vat_rate": 1900 });
            let put = stage.client.put(format!("{}/v1/products/{sku}", stage.inventory)).json(&product);
            done(put.bearer_auth(&stage.operator)).await?;
            let pieces = json!({ "warehouse": warehouse, "pieces": PIECES });
            let receipt = stage.client.post(format!("{}/v1/stock/{sku}/receipts", stage.inventory)).json(&pieces);
            done(receipt.bearer_auth(&stage.operator).header("idempotency-key", Uuid::now_v7().to_string())).await?;
        }
        Ok(stage)
    }

    async fn live(&self, plot: &'static Plot) -> anyhow::Result<Story> {
        let order = self.place(plot).await?;
        for act in plot.acts {
            self.play(&order, act).await?;
        }
        loop {
            let view = self.look(&order, "").await?;
            let story = Story::new(plot, &view, &self.look(&order, "/events?limit=100").await?)?;
            if story.has_ended() {
                return Ok(story);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Places the order, once the order service knows the products.
    async fn place(&self, plot: &Plot) -> anyhow::Result<String> {
        let lines = PRODUCTS.map(|(sku, ..)| json!({ "sku": sku, "quantity": plot.quantity }));
        let body = json!({ "lines": lines, "payment_token": plot.card });
        loop {
            let post = self.client.post(format!("{}/v1/orders", self.order)).bearer_auth(&self.customer).json(&body);
            let answer = post.header("idempotency-key", Uuid::now_v7().to_string()).send().await?;
            let status = answer.status();
            let said: Value = answer.json().await?;
            match (status, said["code"].as_str()) {
                (StatusCode::ACCEPTED, _) => return Ok(said["id"].as_str().context("it has no id")?.to_owned()),
                (StatusCode::UNPROCESSABLE_ENTITY, Some("unknown_sku")) => sleep(LOOK_EVERY).await,
                _ => anyhow::bail!("it is not taken: {said}"),
            }
        }
    }

    async fn play(&self, order: &str, act: &Act) -> anyhow::Result<()> {
        match act {
            Act::Await(sign) => {
                while !story::has_come(&self.look(order, "/events?limit=100").await?, sign) {
                    sleep(LOOK_EVERY).await;
                }
            }
            Act::Cancel { refused } => {
                let post = self.client.post(format!("{}/v1/orders/{order}/cancellation", self.order));
                let answer = post.bearer_auth(&self.customer).send().await?;
                let expected = if *refused { StatusCode::CONFLICT } else { StatusCode::ACCEPTED };
                anyhow::ensure!(answer.status() == expected, "to cancel it is answered {}", said(answer).await);
            }
            Act::Ship(half) => {
                let (_, _, warehouse) = PRODUCTS[*half];
                // Inventory may not have heard yet that it is paid.
                while !self.ship(order, warehouse).await? {
                    sleep(LOOK_EVERY).await;
                }
            }
        }
        Ok(())
    }

    /// Whether it has left.
    async fn ship(&self, order: &str, warehouse: &str) -> anyhow::Result<bool> {
        let body = json!({ "order": order, "warehouse": warehouse });
        let post = self.client.post(format!("{}/v1/shipments", self.inventory)).bearer_auth(&self.operator);
        let answer = post.header("idempotency-key", format!("{order}-{warehouse}")).json(&body).send().await?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(false),
            _ => anyhow::bail!("to ship it is answered {}", said(answer).await),
        }
    }

    async fn look(&self, order: &str, rest: &str) -> anyhow::Result<Value> {
        let get = self.client.get(format!("{}/v1/orders/{order}{rest}", self.order)).bearer_auth(&self.customer);
        Ok(done(get).await?.json().await?)
    }
}

/// Sends the request, which must succeed.
async fn done(request: RequestBuilder) -> anyhow::Result<Response> {
    let answer = request.send().await?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let url = answer.url().clone();
    anyhow::bail!("{url} answered {}", said(answer).await)
}

async fn said(answer: Response) -> String {
    format!("{}: {}", answer.status(), status::detail(answer).await)
}
