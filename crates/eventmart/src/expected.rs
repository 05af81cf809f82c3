//! What a run must end with, computed beforehand from the seed alone.

use std::collections::BTreeMap;

use crate::event::{Event, Payload};
use crate::generator::Generator;
use crate::money::Money;
use crate::reaction::Reactions;
use crate::topic::Topic;

/// The whole story told on paper: every event that the services will write, with duplicates of redelivery left out.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Sign-ups.
    pub users: Vec<Event>,
    /// The catalogue.
    pub products: Vec<Event>,
    /// Profile changes.
    pub updates: Vec<Event>,
    /// Page views.
    pub views: Vec<Event>,
    /// Placed orders.
    pub orders: Vec<Event>,
    /// Payments, initiated and their outcomes.
    pub payments: Vec<Event>,
    /// Confirmed, shipped, delivered, cancelled.
    pub order_outcomes: Vec<Event>,
    /// Messages to customers.
    pub notifications: Vec<Event>,
    /// How many `inventory-changed` the stock-keeper writes. Their content hangs on the order of arrival.
    pub stock_changes: usize,
}

impl Expected {
    /// The story of that generator.
    pub fn of(generator: &Generator) -> Self {
        let reactions = Reactions::new(generator.seed());
        let (users, products) = (generator.users(), generator.products());
        let updates = generator.updates(&users);
        let mut told = Self {
            updates,
            ..Self::default()
        };
        for session in generator.sessions(&users, &products) {
            told.views.extend(session.views);
            told.orders.extend(session.order);
        }
        for order in &told.orders {
            let payments = reactions.payment(order);
            let outcomes: Vec<Event> = payments
                .iter()
                .flat_map(|payment| reactions.order(payment))
                .collect();
            let lines = if let Payload::OrderPlaced(order) = &order.payload {
                order.items.len()
            } else {
                0
            };
            let cancelled = outcomes
                .iter()
                .any(|event| matches!(event.payload, Payload::OrderCancelled(_)));
            told.stock_changes += if cancelled { 2 * lines } else { lines };
            told.payments.extend(payments);
            told.order_outcomes.extend(outcomes);
        }
        told.users = users;
        told.products = products;
        let worth_a_message = told
            .users
            .iter()
            .chain(&told.updates)
            .chain(&told.order_outcomes)
            .chain(&told.payments);
        told.notifications = worth_a_message
            .filter_map(|event| reactions.notification(event))
            .collect();
        told
    }

    /// Events on each topic at the end.
    pub fn by_topic(&self) -> BTreeMap<Topic, usize> {
        let audited = [
            Topic::Users,
            Topic::Products,
            Topic::Orders,
            Topic::Payments,
        ];
        let mut counts = BTreeMap::from([
            (Topic::Users, self.users.len() + self.updates.len()),
            (Topic::Products, self.products.len() + self.stock_changes),
            (Topic::Orders, self.orders.len() + self.order_outcomes.len()),
            (Topic::Payments, self.payments.len()),
            (Topic::Notifications, self.notifications.len()),
            (Topic::Analytics, self.views.len()),
        ]);
        counts.insert(
            Topic::Audit,
            audited.iter().map(|topic| counts[topic]).sum(),
        );
        counts
    }

    /// How many events of that type; not for `inventory-changed` and `audit-recorded`, which are only counted.
    pub fn count(&self, event_type: &str) -> usize {
        let parts = [
            &self.users,
            &self.products,
            &self.updates,
            &self.views,
            &self.orders,
            &self.payments,
            &self.order_outcomes,
            &self.notifications,
        ];
        parts
            .into_iter()
            .flatten()
            .filter(|event| event.event_type() == event_type)
            .count()
    }

    /// The sum of all completed payments.
    pub fn revenue(&self) -> Money {
        let completed = self
            .payments
            .iter()
            .filter_map(|event| match &event.payload {
                Payload::PaymentCompleted(payment) => Some(payment.amount),
                _ => None,
            });
        completed.sum()
    }
}
