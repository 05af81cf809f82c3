//! The four services at work: customers, catalogue, orders and their payments.

use std::collections::BTreeSet;

use ferrokafka::RecordMetadata;

use crate::demo::day3::{Play, SESSIONS_WELL};
use crate::demo::read_back;
use crate::error::{Error, Result};
use crate::event::{Event, Payload};
use crate::scenario::{Column, Stage, Step};
use crate::topic::Topic;

pub(super) async fn register_users(play: &Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage.step("UserService registers customers").await;
    step.why("the key is the user: all changes of one customer stay in order, and compaction keeps the newest of each");
    let users = play.generator.users();
    let updates = play.generator.updates(&users);
    let written = play.users.send_all(&users).await?;
    acknowledged(&mut step, "sign-ups", &users, &written);
    step.line(format!("User registered: {}", users[0].key()));
    let written = play.users.send_all(&updates).await?;
    acknowledged(&mut step, "profile changes", &updates, &written);
    let whole = updates.iter().filter(|event| matches!(&event.payload, Payload::UserUpdated(user) if !user.email.is_empty() && !user.first_name.is_empty()));
    step.fact(
        "changes that carry the whole profile, since the topic is compacted",
        updates.len(),
        whole.count(),
    );
    step.done()
}

pub(super) async fn create_catalogue(play: &Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage.step("ProductService creates the catalogue").await;
    let products = play.generator.products();
    let written = play.products.send_all(&products).await?;
    acknowledged(&mut step, "products", &products, &written);
    step.line(format!("Product created: {}", products[0].key()));
    let categories: BTreeSet<_> = products
        .iter()
        .filter_map(|event| match &event.payload {
            Payload::ProductCreated(product) => Some(product.category.as_str()),
            _ => None,
        })
        .collect();
    step.fact("categories", 5, categories.len());
    step.done()
}

pub(super) async fn take_orders(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("OrderService and PaymentService: from placed to confirmed")
        .await;
    step.why(
        "nobody calls anybody: PaymentService reads placed orders, OrderService reads payments",
    );
    play.start_answering().await?;
    let told: Vec<&Event> = play.sessions[..SESSIONS_WELL]
        .iter()
        .flat_map(|session| session.views.iter().chain(&session.order))
        .collect();
    play.shop.send_all(told).await?;
    let expected = play.expected(SESSIONS_WELL);
    play.answered(&step, &expected).await?;

    let orders = read_back::events(
        &play.ground,
        &read_back::topic(&play.ground, Topic::Orders).await?,
    );
    let payments = read_back::events(
        &play.ground,
        &read_back::topic(&play.ground, Topic::Payments).await?,
    );
    let paid = orders.iter().find(|event| {
        matches!(&event.payload, Payload::OrderPlaced(order)
            if payments.iter().any(|payment| matches!(&payment.payload, Payload::PaymentCompleted(of) if of.order_id == order.order_id)))
    });
    let placed = paid.ok_or_else(|| Error::fact("no order was paid"))?;
    step.line(format!("Order placed: {}", placed.key()));
    let mut journey: Vec<&Event> = orders
        .iter()
        .chain(&payments)
        .filter(|event| event.correlation_id == placed.correlation_id)
        .collect();
    journey.sort_by_key(|event| event.timestamp);
    if let Some(Payload::PaymentCompleted(payment)) = journey
        .iter()
        .map(|event| &event.payload)
        .find(|payload| matches!(payload, Payload::PaymentCompleted(_)))
    {
        step.line(format!("Payment completed: {}", payment.payment_id));
    }
    table(&step, &journey);
    // The first was caused by a page view; each later one by an event of the same journey.
    let ids: BTreeSet<_> = journey.iter().map(|event| event.event_id).collect();
    let linked = journey[1..]
        .iter()
        .filter(|event| event.causation_id.is_some_and(|cause| ids.contains(&cause)));
    step.fact(
        "events of the journey that name their cause",
        journey.len() - 1,
        linked.count(),
    );
    for event_type in [
        "order-placed",
        "payment-initiated",
        "payment-completed",
        "payment-failed",
        "order-confirmed",
        "order-cancelled",
    ] {
        let found = orders
            .iter()
            .chain(&payments)
            .filter(|event| event.event_type() == event_type)
            .count();
        step.fact(event_type, expected.count(event_type), found);
    }
    step.done()
}

fn table(step: &Step<'_>, journey: &[&Event]) {
    let cause = |event: &Event| {
        let cause = journey
            .iter()
            .find(|other| Some(other.event_id) == event.causation_id);
        cause
            .map_or("page-viewed", |cause| cause.event_type())
            .to_owned()
    };
    let rows = journey
        .iter()
        .map(|event| {
            vec![
                event.event_type().to_owned(),
                event.source.clone(),
                event.key().to_owned(),
                cause(event),
            ]
        })
        .collect();
    let columns = [
        Column::text("event"),
        Column::text("written by"),
        Column::text("key"),
        Column::text("because of"),
    ];
    step.table(
        "one journey, read back from the topics by its correlation id",
        &columns,
        rows,
    );
}

/// All were acknowledged, each with a place in the log.
fn acknowledged(step: &mut Step<'_>, what: &str, sent: &[Event], written: &[RecordMetadata]) {
    let places = written
        .iter()
        .filter(|metadata| metadata.offset >= 0)
        .count();
    step.fact(
        &format!("{what} acknowledged by all in-sync replicas"),
        sent.len(),
        places,
    );
}
