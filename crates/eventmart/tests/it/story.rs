//! The seeded story: same seed same bytes, times in the past, journeys linked, money exact.

use std::collections::{HashMap, HashSet};

use eventmart_core::event::EVENT_TYPES;
use eventmart_core::stock::Stock;
use eventmart_core::{
    Encoding, EncodingError, Event, Expected, Generator, Json, Payload, Reactions, Seed, Topic,
    Volume,
};
use jiff::{SignedDuration, Timestamp};

const START: &str = "2026-11-22T10:00:00.123456Z";

fn generator(seed: u64) -> Generator {
    Generator::new(Seed::new(seed, START.parse().unwrap()), Volume::default())
}

fn all(expected: &Expected) -> Vec<&Event> {
    let parts = [
        &expected.users,
        &expected.products,
        &expected.updates,
        &expected.views,
        &expected.orders,
        &expected.payments,
        &expected.order_outcomes,
        &expected.notifications,
    ];
    parts.into_iter().flatten().collect()
}

fn bytes(expected: &Expected) -> Vec<Vec<u8>> {
    all(expected)
        .into_iter()
        .map(|event| Json.encode("t", event).unwrap().to_vec())
        .collect()
}

#[test]
fn one_seed_tells_one_story() {
    assert_eq!(
        bytes(&Expected::of(&generator(42))),
        bytes(&Expected::of(&generator(42)))
    );
    assert_ne!(
        bytes(&Expected::of(&generator(42))),
        bytes(&Expected::of(&generator(43)))
    );
}

#[test]
fn the_default_story_has_the_promised_shape() {
    let expected = Expected::of(&generator(42));
    assert_eq!(expected.users.len(), 50);
    assert_eq!(expected.products.len(), 20);
    let Payload::ProductCreated(first) = &expected.products[0].payload else {
        panic!()
    };
    assert_eq!(
        (first.product_id.as_str(), first.name.as_str()),
        ("laptop-pro-15", "Laptop Pro 15")
    );
    let categories: HashSet<_> = expected
        .products
        .iter()
        .map(|event| match &event.payload {
            Payload::ProductCreated(product) => product.category.clone(),
            _ => panic!(),
        })
        .collect();
    assert_eq!(categories.len(), 5);
    assert!(
        (20..=40).contains(&expected.orders.len()),
        "{} orders of 100 sessions",
        expected.orders.len()
    );
    for order in &expected.orders {
        let Payload::OrderPlaced(order) = &order.payload else {
            panic!()
        };
        assert!((1..=3).contains(&order.items.len()));
        assert_eq!(
            order.total_amount,
            order
                .items
                .iter()
                .map(|item| item.unit_price * item.quantity)
                .sum()
        );
    }
}

#[test]
fn about_a_third_of_the_visits_order_and_nine_payments_in_ten_succeed() {
    let seed = Seed::new(7, START.parse().unwrap());
    let many = Expected::of(&Generator::new(
        seed,
        Volume {
            sessions: 5_000,
            ..Volume::default()
        },
    ));
    let orders = many.orders.len() as f64;
    assert!((0.28..0.32).contains(&(orders / 5_000.0)), "{orders}");
    let completed = many.count("payment-completed") as f64;
    assert!(
        (0.88..0.92).contains(&(completed / orders)),
        "{completed} of {orders}"
    );
    assert_eq!(
        many.count("payment-completed") + many.count("payment-failed"),
        many.orders.len()
    );
    assert_eq!(
        many.count("order-confirmed") + many.count("order-cancelled"),
        many.orders.len()
    );
}

#[test]
fn nothing_happens_in_the_future_or_long_ago() {
    let start: Timestamp = START.parse().unwrap();
    for event in all(&Expected::of(&generator(42))) {
        assert!(event.timestamp <= start, "{event:?}");
        assert!(
            event.timestamp >= start - SignedDuration::from_mins(11),
            "{event:?}"
        );
    }
}

#[test]
fn every_effect_is_later_than_its_cause_and_of_the_same_journey() {
    let expected = Expected::of(&generator(42));
    let by_id: HashMap<_, _> = all(&expected)
        .into_iter()
        .map(|event| (event.event_id, event))
        .collect();
    assert_eq!(by_id.len(), all(&expected).len(), "ids are unique");
    let effects: Vec<_> = by_id
        .values()
        .filter(|event| event.causation_id.is_some())
        .collect();
    assert!(effects.len() > 100);
    for effect in effects {
        let cause = by_id[&effect.causation_id.unwrap()];
        assert!(effect.timestamp > cause.timestamp, "{effect:?}");
        assert_eq!(effect.correlation_id, cause.correlation_id);
        assert_eq!(effect.on_behalf_of, cause.on_behalf_of);
    }
}

#[test]
fn a_second_delivery_leads_to_the_same_events() {
    let generator = generator(42);
    let expected = Expected::of(&generator);
    let reactions = Reactions::new(generator.seed());
    let order = &expected.orders[0];
    assert_eq!(reactions.payment(order), reactions.payment(order));
    assert_eq!(reactions.audit(order), reactions.audit(order));
}

#[test]
fn the_stock_keeper_enters_an_event_once() {
    let expected = Expected::of(&generator(42));
    let stock = Stock::default();
    assert!(
        stock.enter(&expected.orders[0]).is_err(),
        "the catalogue is not there yet"
    );
    for product in &expected.products {
        stock.enter(product).unwrap();
    }
    let full = stock.total();
    let changes = stock.enter(&expected.orders[0]).unwrap();
    let after = stock.total();
    assert!(after < full);
    assert_eq!(stock.enter(&expected.orders[0]).unwrap(), changes);
    assert_eq!(stock.total(), after);
}

#[test]
fn json_keeps_every_event_of_the_story() {
    for event in all(&Expected::of(&generator(42))) {
        let bytes = Json.encode(event.topic().name(), event).unwrap();
        assert_eq!(
            &Json.decode(event.topic().name(), &bytes).unwrap(),
            event,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn json_has_envelope_and_payload_side_by_side() {
    let event = &generator(42).products()[0];
    let value: serde_json::Value =
        serde_json::from_slice(&Json.encode("t", event).unwrap()).unwrap();
    assert_eq!(value["event_type"], "product-created");
    assert_eq!(value["version"], 1);
    assert_eq!(value["timestamp"], "2026-11-22T09:50:00.123Z");
    assert_eq!(value["source"], "ProductService");
    assert_eq!(value["product_id"], "laptop-pro-15");
    assert!(value["price"].is_string(), "{value}");
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    let event = &generator(42).products()[0];
    let with = |field: &str, value: serde_json::Value| {
        let mut object: serde_json::Value =
            serde_json::from_slice(&Json.encode("t", event).unwrap()).unwrap();
        object[field] = value;
        Json.decode("t", object.to_string().as_bytes()).unwrap_err()
    };
    assert_eq!(
        with("version", 2.into()),
        EncodingError::UnknownVersion { found: 2 }
    );
    assert_eq!(
        with("event_type", "order-eaten".into()),
        EncodingError::UnknownType {
            found: "order-eaten".into()
        }
    );
    assert!(matches!(
        with("price", 12.5.into()),
        EncodingError::Malformed { .. }
    ));
    assert!(matches!(
        Json.decode("t", b"\xff\x00 not json"),
        Err(EncodingError::Malformed { .. })
    ));
    assert!(matches!(
        Json.decode("t", b""),
        Err(EncodingError::Malformed { .. })
    ));
}

#[test]
fn every_event_type_lies_on_one_of_the_seven_topics() {
    assert_eq!(EVENT_TYPES.len(), 15);
    for topic in Topic::all() {
        assert!(EVENT_TYPES.iter().any(|(_, of)| *of == topic), "{topic}");
    }
}
