//! Placing orders: one transaction for all that were waiting.

use std::{collections::HashSet, sync::Arc, time::Duration};

use contracts::{CustomerId, OrderId, billing::PaymentToken, order::OrderEvent};
use messaging::pace::Pace;
use service::work::Work;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use web::trace::Traceparent;

use crate::{
    App,
    admission::{Admission, Full},
    meters,
    order::{self, Cart, Refusal},
    reference::Reference,
    sagas::Progress,
    store,
};

/// How often a batch that lost a deadlock is tried.
const TRIES: usize = 5;

/// How long whoever found no room waits for what became of an earlier request. It is refused then, also if that was not found.
const LOOK_BACK: Duration = Duration::from_secs(1);

/// A wish to order.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) customer: CustomerId,
    pub(crate) key: String,
    /// SHA-256 of the meaning of the request.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) cart: Cart,
    pub(crate) token: PaymentToken,
    /// What the customer calls the order. Two of theirs are never called the same.
    pub(crate) reference: Option<Reference>,
    /// The request that it came with.
    pub(crate) cause: Traceparent,
    /// There was no room for it: this is its answer, unless it repeats a request whose order is there.
    pub(crate) refused: Option<PlaceError>,
}

/// A key, and whose it is.
type Key = (CustomerId, String);

impl Wish {
    fn key(&self) -> Key {
        (self.customer, self.key.clone())
    }
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
    #[error("another order of this customer has this reference")]
    ReferenceTaken,
    #[error(
        "too many orders are on their way: this request has begun nothing, repeat it with the same idempotency key"
    )]
    Busy,
    #[error(
        "too many orders of yours are on their way: this request has begun nothing, repeat it with the same idempotency key"
    )]
    TooManyOpen,
    #[error("the order could not be stored; repeat the request with the same idempotency key")]
    Store,
}

type Reply = oneshot::Sender<Result<Placed, PlaceError>>;

/// Hands wishes to the task that commits them.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<(Wish, Reply)>,
    admission: Arc<Admission>,
}

/// What is waiting for the next transaction.
pub(crate) type Queue = mpsc::Receiver<(Wish, Reply)>;

impl Committer {
    /// So many wishes may wait, if `admission` lets them in.
    pub(crate) fn new(waiting_max: usize, admission: Arc<Admission>) -> (Self, Queue) {
        let (sender, queue) = mpsc::channel(waiting_max);
        (Self { queue: sender, admission }, queue)
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Places the order, and answers after the commit. The work goes on also if the caller goes away.
    ///
    /// A repetition takes no room, so what finds none goes to the committer all the same, to be looked up with the next
    /// batch.
    pub(crate) async fn place(&self, wish: Wish) -> Result<Placed, PlaceError> {
        let seat = self.queue.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => PlaceError::Busy,
            // It is about to stop.
            TrySendError::Closed(()) => PlaceError::Store,
        })?;
        let (reply, answer) = oneshot::channel();
        let Err(full) = self.admission.admit(wish.customer) else {
            seat.send((wish, reply));
            return answer.await.unwrap_or(Err(PlaceError::Store));
        };
        let refused = match full {
            Full::Shop => PlaceError::Busy,
            Full::Customer => PlaceError::TooManyOpen,
        };
        // Half of the seats are for what is let in, in whatever flood of those that are not.
        if self.queue.capacity() < self.queue.max_capacity() / 2 {
            return Err(refused);
        }
        seat.send((Wish { refused: Some(refused.clone()), ..wish }, reply));
        timeout(LOOK_BACK, answer).await.ok().and_then(Result::ok).unwrap_or(Err(refused))
    }
}

/// Commits all that is waiting, at most `batch_max` in one transaction, again and again, until `stop`; then what is left.
pub(crate) async fn run(
    app: App,
    mut queue: Queue,
    batch_max: usize,
    work: Work,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut waiting = Vec::with_capacity(batch_max);
    let mut pace = Pace::new(batch_max);
    loop {
        tokio::time::sleep_until(pace.next().into()).await;
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut waiting, batch_max) => if taken == 0 { return Ok(()) },
            () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
        }
        pace.begin(waiting.len());
        let (wishes, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let answers = work.unit(place_all(&app, &wishes)).await?.unwrap_or_else(|error| {
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
    let (now, prices) = store::catalogue::prices(&mut tx, wishes.iter().flat_map(|wish| wish.cart.skus())).await?;
    let decide = |wish: &Wish| {
        if let Some(refused) = &wish.refused {
            return Err(refused.clone());
        }
        let id = OrderId::mint();
        Ok((id, order::place(id, wish.customer, &wish.cart, &prices, now)?))
    };
    let decided: Vec<Decision> = wishes.iter().map(decide).collect();
    let orderable = wishes.iter().zip(&decided);
    let wanted: Vec<_> = orderable.filter_map(|(wish, decision)| Some((wish, decision.as_ref().ok()?.0))).collect();
    let mut claimed = store::keys::claim(&mut tx, &wanted).await?;
    let twins = claim_references(&mut tx, &wanted, &mut claimed).await?;
    let is_claimed = |decision: &Decision| decision.as_ref().is_ok_and(|(id, _)| claimed.contains(id));
    let others = wishes.iter().zip(&decided).filter(|(_, decision)| !is_claimed(decision));
    let taken = store::keys::taken(&mut tx, &others.map(|(wish, _)| wish).collect::<Vec<_>>()).await?;
    let (mut progress, mut placed) = (Progress::default(), Vec::new());
    let mut answers = Vec::with_capacity(wishes.len());
    for (wish, decision) in wishes.iter().zip(decided) {
        answers.push(match (decision, taken.get(&wish.key())) {
            (Ok((id, event)), _) if claimed.contains(&id) => {
                placed.push(order::Order::apply(None, &event).expect("placing an order begins it"));
                wish.cause.sync_scope(|| progress.placed(event, wish.token.clone(), app.checkout_deadline, now));
                Ok(Placed::Now(id))
            }
            // Also a request that would be refused now may be the repetition of one that was not.
            (_, Some((order, fingerprint))) if *fingerprint == wish.fingerprint => Ok(Placed::Before(*order)),
            (_, Some(_)) => Err(PlaceError::KeyReused),
            (Err(refused), None) => Err(refused),
            (Ok(_), None) if twins.contains(&(wish.key(), wish.fingerprint)) => Err(PlaceError::ReferenceTaken),
            // Its key was taken and is free again by now: the request can be repeated.
            (Ok(_), None) => Err(PlaceError::Store),
        });
    }
    store::orders::insert(&mut tx, &placed).await?;
    let events = progress.save(&mut tx, now).await?;
    tx.commit().await?;
    meters::happened(&events);
    Ok(answers)
}

type Decision = Result<(OrderId, OrderEvent), PlaceError>;

/// Claims the references of those of `wanted` that have their keys. Whose reference another order has loses its key again,
/// for it is refused. Gives the keys and fingerprints of those: the same may have been wanted more than once.
///
/// All keys are claimed before any reference. So whoever waits for a reference waits for one who waits for no key.
async fn claim_references(
    tx: &mut sqlx::PgConnection,
    wanted: &[(&Wish, OrderId)],
    claimed: &mut HashSet<OrderId>,
) -> sqlx::Result<HashSet<(Key, [u8; 32])>> {
    let with_reference = |(wish, id): &(&Wish, OrderId)| wish.reference.is_some() && claimed.contains(id);
    let named: Vec<_> = wanted.iter().filter(|one| with_reference(one)).copied().collect();
    let got = store::references::claim(tx, &named).await?;
    let twins: Vec<_> = named.into_iter().filter(|(_, id)| !got.contains(id)).collect();
    store::keys::release(tx, &twins).await?;
    for (_, id) in &twins {
        claimed.remove(id);
    }
    Ok(twins.into_iter().map(|(wish, _)| (wish.key(), wish.fingerprint)).collect())
}
