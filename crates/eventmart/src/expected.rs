//! What a run must end with, computed beforehand from the seed alone.

use std::collections::BTreeMap;

use crate::event::{Event, Payload};
use crate::generator::{Generator, Session};
use crate::money::Money;
use crate::platform::Service;
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
    /// The whole story of that generator.
    pub fn of(generator: &Generator) -> Self {
        let (users, products) = (generator.users(), generator.products());
        let sessions = generator.sessions(&users, &products);
        Self::up_to(generator, users, products, &sessions)
    }

    /// The story after those of its sign-ups and visits.
    pub fn up_to(
        generator: &Generator,
        users: Vec<Event>,
        products: Vec<Event>,
        sessions: &[Session],
    ) -> Self {
        let reactions = Reactions::new(generator.seed());
        let updates = generator.updates(&users);
        let mut told = Self {
            users,
            products,
            updates,
            ..Self::default()
        };
        for session in sessions {
            told.views.extend(session.views.iter().cloned());
            told.orders.extend(session.order.iter().cloned());
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

    /// Events that the group of `service` reads.
    pub fn read_by(&self, service: Service) -> usize {
        let counts = self.by_topic();
        service.spec().reads.iter().map(|topic| counts[topic]).sum()
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
