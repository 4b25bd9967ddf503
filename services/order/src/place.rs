//! Placing orders: one transaction for all that were waiting.

use contracts::{CustomerId, OrderId, billing::PaymentToken, order::OrderEvent};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    App,
    checkout::{CHECKOUT, Checkout},
    order::{self, Cart, Refusal},
    sagas::Progress,
    store,
};

/// The most orders in one transaction.
const BATCH: usize = 256;
/// The most requests that wait for the next transaction; one more is turned away.
const QUEUE: usize = 4096;
/// How often a batch that lost a deadlock is tried.
const TRIES: usize = 5;

/// A wish to order.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) customer: CustomerId,
    pub(crate) key: String,
    /// SHA-256 of the meaning of the request.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) cart: Cart,
    pub(crate) token: PaymentToken,
}

/// An order was placed, now or by an earlier request with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    Now(OrderId),
    Before(OrderId),
}

/// Why no order was placed. Nothing of it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this idempotency key was used for another request")]
    KeyReused,
    #[error("too many orders are waiting")]
    Busy,
    #[error("the order could not be stored; repeat the request with the same idempotency key")]
    Store,
}

type Reply = oneshot::Sender<Result<Placed, PlaceError>>;

/// Hands wishes to the task that commits them.
#[derive(Debug, Clone)]
pub(crate) struct Committer(mpsc::Sender<(Wish, Reply)>);

/// What is waiting for the next transaction.
pub(crate) type Queue = mpsc::Receiver<(Wish, Reply)>;

impl Committer {
    pub(crate) fn new() -> (Self, Queue) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self(sender), queue)
    }

    /// Places the order, and answers after the commit. The work goes on also if the caller goes away.
    pub(crate) async fn place(&self, wish: Wish) -> Result<Placed, PlaceError> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send((wish, reply)).map_err(|_| PlaceError::Busy)?;
        answer.await.unwrap_or(Err(PlaceError::Store))
    }
}

/// Commits all that is waiting, again and again, until `stop`; then what is left.
pub(crate) async fn run(app: App, mut queue: Queue, stop: CancellationToken) -> anyhow::Result<()> {
    let mut waiting = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut waiting, BATCH) => if taken == 0 { return Ok(()) },
            () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
        }
        let (wishes, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let answers = place_all(&app, &wishes).await.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                orders = wishes.len(),
                "orders could not be stored"
            );
            vec![Err(PlaceError::Store); wishes.len()]
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            reply.send(answer).ok(); // Nobody may be waiting any more: the order stands all the same.
        }
    }
}

/// Places each of `wishes`, or says why not; all in one transaction. A lost deadlock is the batch again.
pub(crate) async fn place_all(app: &App, wishes: &[Wish]) -> sqlx::Result<Vec<Result<Placed, PlaceError>>> {
    let mut tries = 1;
    loop {
        match try_place_all(app, wishes).await {
            Err(error) if store::lost_a_race(&error) && tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

async fn try_place_all(app: &App, wishes: &[Wish]) -> sqlx::Result<Vec<Result<Placed, PlaceError>>> {
    let mut tx = app.db.begin().await?;
    let decided = decide(app, &mut tx, wishes).await?;
    let (mut claims, mut answers) = (Vec::new(), Vec::with_capacity(wishes.len()));
    for (wish, decision) in wishes.iter().zip(&decided) {
        if let Ok((id, _)) = decision {
            claims.push((wish, *id));
        }
    }
    let claimed = store::keys::claim(&mut tx, &claims).await?;
    let mut progress = Progress::default();
    let mut placed = Vec::new();
    let mut unclaimed = Vec::new();
    for (place, (wish, decision)) in wishes.iter().zip(decided).enumerate() {
        match decision {
            Ok((id, event)) if claimed.contains(&id) => {
                placed.push(order::Order::apply(None, &event).expect("placing an order begins it"));
                start(app, &mut progress, wish, event);
                answers.push(Ok(Placed::Now(id)));
            }
            Ok(_) => {
                unclaimed.push(place);
                answers.push(Err(PlaceError::Store));
            }
            // A request that would be refused now may be the repetition of one that was not.
            Err(refusal) => {
                unclaimed.push(place);
                answers.push(Err(refusal.into()));
            }
        }
    }
    answer_repeats(&mut tx, wishes, &unclaimed, &mut answers).await?;
    store::orders::insert(&mut tx, &placed).await?;
    progress.save(&mut tx, app.clock.now()).await?;
    tx.commit().await?;
    Ok(answers)
}

type Decision = Result<(OrderId, OrderEvent), Refusal>;

async fn decide(app: &App, tx: &mut PgConnection, wishes: &[Wish]) -> sqlx::Result<Vec<Decision>> {
    let prices = store::catalogue::prices(tx, wishes.iter().flat_map(|wish| wish.cart.skus())).await?;
    let now = app.clock.now();
    let decide = |wish: &Wish| {
        let id = OrderId::mint();
        order::place(id, wish.customer, &wish.cart, &prices, now).map(|placed| (id, placed))
    };
    Ok(wishes.iter().map(decide).collect())
}

fn start(app: &App, progress: &mut Progress, wish: &Wish, placed: OrderEvent) {
    let checkout = Checkout::of(&placed, wish.token.clone()).expect("placing an order gives the event that says so");
    let (instance, transition) = CHECKOUT.start(Uuid::now_v7(), checkout, app.clock.now());
    progress.placed(placed);
    progress.started(instance, transition);
}

/// Gives the requests at `unclaimed`, whose keys were taken before, the answers of the first requests.
async fn answer_repeats(
    tx: &mut PgConnection,
    wishes: &[Wish],
    unclaimed: &[usize],
    answers: &mut [Result<Placed, PlaceError>],
) -> sqlx::Result<()> {
    if unclaimed.is_empty() {
        return Ok(());
    }
    let repeats: Vec<&Wish> = unclaimed.iter().map(|place| &wishes[*place]).collect();
    let first = store::keys::taken(tx, &repeats).await?;
    for place in unclaimed {
        let wish = &wishes[*place];
        if let Some((order, fingerprint)) = first.get(&(wish.customer, wish.key.clone())) {
            let same = *fingerprint == wish.fingerprint;
            answers[*place] = if same { Ok(Placed::Before(*order)) } else { Err(PlaceError::KeyReused) };
        }
    }
    Ok(())
}
