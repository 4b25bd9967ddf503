//! The API, and when an answer is given: after its lines are on disk, and as the token says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contracts::{Currency, Money};
use serde::Serialize;
use service::clock::Clock;
use tokio_util::task::TaskTracker;
use web::extract::{IdempotencyKey, Json, Path};
use web::problem::{Problem, ProblemType, types};

use crate::book::{Act, Book, Entry, Line, Word};
use crate::journal::{Journal, Unwritable};
use crate::token::Behaviour;
use crate::webhook::{Delivery, Webhooks};

static UNKNOWN_KEY: ProblemType =
    ProblemType { slug: "unknown_key", status: StatusCode::NOT_FOUND, title: "Nothing is known of this key" };
static KEY_REUSED: ProblemType = ProblemType {
    slug: "key_reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The key was used for something else",
};

/// The provider.
#[derive(Debug, Clone)]
pub(crate) struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    journal: Journal,
    clock: Clock,
    silence: Duration,
    webhooks: Option<Webhooks>,
    /// What goes on although its caller may have hung up.
    work: TaskTracker,
}

/// How a call is answered.
enum Answer {
    /// With the word.
    Said(Word),
    /// Not at all.
    Silence,
    /// With 500.
    Error,
    /// The key is another call's.
    OtherBody,
}

/// What an answer says.
#[derive(Debug, Serialize)]
struct Answered {
    key: String,
    #[serde(flatten)]
    word: Word,
}

pub(crate) fn router(provider: Provider) -> Router {
    Router::new()
        .route("/v1/operations", post(execute))
        .route("/v1/operations/{key}", get(look_up))
        .route("/v1/log", get(read_log))
        .with_state(provider)
}

async fn execute(
    State(provider): State<Provider>,
    key: IdempotencyKey,
    Json(act): Json<Act>,
) -> Result<Response, Problem> {
    let key = key.to_string();
    // A caller that hangs up stops nothing: what it asked for is done all the same.
    let (worker, its_key, its_act) = (provider.clone(), key.clone(), act.clone());
    let done = provider.0.work.spawn(async move { worker.call(&its_key, &its_act).await }).await;
    let answer = done.map_err(|error| Problem::internal(&error))?.map_err(|error| Problem::internal(&error))?;
    match answer {
        Answer::Said(word) => Ok(Json(provider.tell(&key, &act, word)).into_response()),
        Answer::Error => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        Answer::OtherBody => Err(Problem::of(&KEY_REUSED, "The key stands for another body.")),
        Answer::Silence => {
            tokio::time::sleep(provider.0.silence).await;
            Err(Problem::of(&types::TIMED_OUT, "The answer took too long."))
        }
    }
}

async fn look_up(State(provider): State<Provider>, Path(key): Path<String>) -> Result<Response, Problem> {
    let at = provider.0.clock.now();
    let request = Line::Request { at, operation: None, key: key.clone(), lost: false };
    let (found, writing) = {
        let book = provider.book();
        (book.find(&key).cloned(), provider.0.journal.append(&[request]))
    };
    writing.done().await.map_err(|error| Problem::internal(&error))?;
    let (act, word) = found.ok_or_else(|| Problem::of(&UNKNOWN_KEY, "No call with this key has been decided."))?;
    Ok(Json(provider.tell(&key, &act, word)).into_response())
}

async fn read_log(State(provider): State<Provider>) -> Result<Response, Problem> {
    let log = tokio::fs::read(provider.0.journal.path()).await.map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], log).into_response())
}

impl Provider {
    pub(crate) fn new(
        book: Book,
        journal: Journal,
        clock: Clock,
        silence: Duration,
        webhooks: Option<Webhooks>,
    ) -> Self {
        Self(Arc::new(Inner { book: Mutex::new(book), journal, clock, silence, webhooks, work: TaskTracker::new() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic while it was held would have left a decision undone that the log does not have either.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a call. Returns when all it says is on disk.
    async fn call(&self, key: &str, act: &Act) -> Result<Answer, Unwritable> {
        let behaviour = {
            let book = self.book();
            // What is known is told at once, however slow it was the first time.
            if book.look(key, act) == Entry::New { book.behaviour(key, act) } else { None }
        };
        let behaviour = behaviour.unwrap_or(Behaviour::Ok);
        let slow = if let Behaviour::Slow(duration) = behaviour { Some(duration) } else { None };
        if behaviour == Behaviour::WebhookForged {
            self.notify(key, Delivery::Forged).await;
        }
        if let Some(duration) = slow {
            let request = self.request(key, act, false);
            self.0.journal.append(&[request]).done().await?;
            tokio::time::sleep(duration).await;
        }
        let (answer, writing) = self.decide(key, act, slow.is_some());
        writing.done().await?;
        match behaviour {
            Behaviour::WebhookFirst => self.notify(key, Delivery::Once).await,
            Behaviour::WebhookTwice => self.notify_meanwhile(key, Delivery::Twice),
            Behaviour::WebhookLate => self.notify_meanwhile(key, Delivery::Late),
            Behaviour::TimeoutDone | Behaviour::ErrorDone | Behaviour::Slow(_) => {
                self.notify_meanwhile(key, Delivery::Once);
            }
            // Its answer says it all, or there is nothing to say.
            Behaviour::Ok
            | Behaviour::Declined
            | Behaviour::TimeoutLost
            | Behaviour::ErrorLost
            | Behaviour::WrongAmount
            | Behaviour::WrongCurrency
            | Behaviour::WrongId
            | Behaviour::WebhookForged => {}
        }
        Ok(answer)
    }

    fn notify_meanwhile(&self, key: &str, delivery: Delivery) {
        let (provider, key) = (self.clone(), key.to_owned());
        self.0.work.spawn(async move { provider.notify(&key, delivery).await });
    }

    /// Says by webhook that `key` is decided, if anybody wants to hear it.
    async fn notify(&self, key: &str, delivery: Delivery) {
        let Some(webhooks) = &self.0.webhooks else { return };
        let note = |at, id: &str, status| {
            let line = Line::Webhook { at, id: id.to_owned(), key: key.to_owned(), status };
            // Nobody waits for it.
            drop(self.0.journal.append(&[line]));
        };
        webhooks.deliver(key, delivery, &self.0.clock, note).await;
    }

    /// Decides, and hands the lines to the log, under one lock: their order is that of the decisions. `noted`: the log
    /// has the request already.
    fn decide(&self, key: &str, act: &Act, noted: bool) -> (Answer, crate::journal::Writing) {
        let mut book = self.book();
        let behaviour = book.behaviour(key, act);
        let (mut lines, answer) = match book.look(key, act) {
            Entry::Known(word) => (Vec::new(), Answer::Said(word)),
            Entry::OtherBody => (Vec::new(), Answer::OtherBody),
            Entry::New if !book.was_lost(key) && behaviour == Some(Behaviour::TimeoutLost) => {
                (vec![book.lose(self.request(key, act, true))], Answer::Silence)
            }
            Entry::New if !book.was_lost(key) && behaviour == Some(Behaviour::ErrorLost) => {
                (vec![book.lose(self.request(key, act, true))], Answer::Error)
            }
            Entry::New => {
                let line = book.decide(key, act, self.0.clock.now());
                let word = book.find(key).map(|(_, word)| word.clone());
                let answer = match (behaviour, word) {
                    (Some(Behaviour::TimeoutDone | Behaviour::WebhookTwice | Behaviour::WebhookLate), _) => {
                        Answer::Silence
                    }
                    (Some(Behaviour::ErrorDone), _) | (_, None) => Answer::Error,
                    (_, Some(word)) => Answer::Said(word),
                };
                (vec![line], answer)
            }
        };
        if !noted && !lines.iter().any(|line| matches!(line, Line::Request { .. })) {
            lines.insert(0, self.request(key, act, false));
        }
        (answer, self.0.journal.append(&lines))
    }

    fn request(&self, key: &str, act: &Act, lost: bool) -> Line {
        Line::Request { at: self.0.clock.now(), operation: Some(act.operation()), key: key.to_owned(), lost }
    }

    /// The answer, true or as false as the token wants it.
    fn tell(&self, key: &str, act: &Act, word: Word) -> Answered {
        let mut said = Answered { key: key.to_owned(), word };
        let behaviour = self.book().behaviour(key, act);
        let lies = [Behaviour::WrongId, Behaviour::WrongAmount, Behaviour::WrongCurrency];
        if !behaviour.is_some_and(|behaviour| lies.contains(&behaviour)) || !self.book().misstate(key) {
            return said;
        }
        if behaviour == Some(Behaviour::WrongId) {
            said.key = format!("{key}-of-another");
        }
        if let Word::Executed { amount: Some(amount), .. } = &mut said.word {
            if behaviour == Some(Behaviour::WrongAmount) {
                amount.amount += 1;
            }
            if behaviour == Some(Behaviour::WrongCurrency) {
                *amount = in_another_currency(*amount);
            }
        }
        said
    }
}

fn in_another_currency(amount: Money) -> Money {
    let other = if amount.currency == Currency::CHF { Currency::EUR } else { Currency::CHF };
    Money::new(amount.amount, other)
}
