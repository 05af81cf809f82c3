//! What the services write when they read an event: pure functions of the event and the seed.
//!
//! A service that handles an event a second time writes the same events again, with the same ids; that is what lets
//! readers recognise a redelivery. It also lets a demo compute beforehand what a run must end with.

use jiff::{SignedDuration, Timestamp};

use crate::event::{
    AuditRecorded, Channel, EVENT_VERSION, Event, NotificationSent, OrderCancelled, OrderConfirmed,
    OrderDelivered, OrderShipped, Payload, PaymentCompleted, PaymentFailed, PaymentInitiated,
    PaymentMethod,
};
use crate::platform::Service;
use crate::seed::{Seed, Stream};

/// Percentage of payments that succeed.
pub const PAYMENTS_SUCCEEDING_PERCENT: i64 = 90;

/// Percentage of shipped orders that a same-day courier delivers within the run.
pub const SAME_DAY_DELIVERY_PERCENT: i64 = 40;

/// The decisions of the services.
#[derive(Clone, Copy, Debug)]
pub struct Reactions {
    seed: Seed,
}

impl Reactions {
    /// Decisions drawn from that seed.
    pub fn new(seed: Seed) -> Self {
        Self { seed }
    }

    /// PaymentService: a placed order is charged, and the provider takes the money or refuses.
    pub fn payment(&self, event: &Event) -> Vec<Event> {
        let Payload::OrderPlaced(order) = &event.payload else {
            return Vec::new();
        };
        let mut chance = self.chance(Service::Payment, event);
        let payment_id = order.order_id.replace("order", "payment");
        use PaymentMethod::{ApplePay, CreditCard, DebitCard, Paypal};
        let initiated = PaymentInitiated {
            payment_id: payment_id.clone(),
            order_id: order.order_id.clone(),
            amount: order.total_amount,
            payment_method: *chance.pick(&[CreditCard, CreditCard, DebitCard, Paypal, ApplePay]),
        };
        let initiated = after(&mut chance, event, Service::Payment, initiated);
        let outcome: Payload = if chance.percent(PAYMENTS_SUCCEEDING_PERCENT) {
            let transaction_id = format!("txn-{}", chance.code(10));
            let order_id = order.order_id.clone();
            PaymentCompleted {
                payment_id,
                order_id,
                transaction_id,
                amount: order.total_amount,
            }
            .into()
        } else {
            let (reason, retryable) = *chance.pick(&[
                ("insufficient funds", false),
                ("card expired", false),
                ("provider timed out", true),
            ]);
            PaymentFailed {
                payment_id,
                order_id: order.order_id.clone(),
                reason: reason.to_owned(),
                retryable,
            }
            .into()
        };
        let outcome = after(&mut chance, &initiated, Service::Payment, outcome);
        vec![initiated, outcome]
    }

    /// OrderService: a completed payment confirms and ships the order, a failed one cancels it.
    pub fn order(&self, event: &Event) -> Vec<Event> {
        let mut chance = self.chance(Service::Order, event);
        match &event.payload {
            Payload::PaymentCompleted(payment) => {
                let order_id = payment.order_id.clone();
                let days = SignedDuration::from_hours(24 * chance.between(1, 5));
                let confirmation_number = format!("EM-{}", chance.code(8));
                let estimated_delivery = event.timestamp + days;
                let confirmed = OrderConfirmed {
                    order_id: order_id.clone(),
                    confirmation_number,
                    estimated_delivery,
                };
                let confirmed = after(&mut chance, event, Service::Order, confirmed);
                let carrier =
                    (*chance.pick(&["Swift Parcel", "Blue Van", "Northern Post"])).to_owned();
                let tracking_number = chance.code(12);
                let shipped = OrderShipped {
                    order_id: order_id.clone(),
                    carrier,
                    tracking_number,
                };
                let shipped = after(&mut chance, &confirmed, Service::Order, shipped);
                let mut events = vec![confirmed, shipped];
                if chance.percent(SAME_DAY_DELIVERY_PERCENT) {
                    let delivered_at = events[1].timestamp + SignedDuration::from_secs(20);
                    let delivered = OrderDelivered {
                        order_id,
                        delivered_at,
                    };
                    events.push(at(
                        delivered_at,
                        &mut chance,
                        &events[1],
                        Service::Order,
                        delivered,
                    ));
                }
                events
            }
            Payload::PaymentFailed(payment) => {
                let reason = format!("payment failed: {}", payment.reason);
                let cancelled = OrderCancelled {
                    order_id: payment.order_id.clone(),
                    reason,
                };
                vec![after(&mut chance, event, Service::Order, cancelled)]
            }
            _ => Vec::new(),
        }
    }

    /// NotificationService: what a customer is told, if this event is worth a message.
    pub fn notification(&self, event: &Event) -> Option<Event> {
        let user_id = event.on_behalf_of.clone()?;
        let (channel, subject, content) = match &event.payload {
            Payload::UserRegistered(user) => (
                Channel::Email,
                "Welcome to EventMart".to_owned(),
                format!("Hello {}, good to have you.", user.first_name),
            ),
            Payload::OrderConfirmed(order) => (
                Channel::Email,
                format!("Your {} is confirmed", order.order_id),
                format!("Quote {} if you write to us.", order.confirmation_number),
            ),
            Payload::OrderShipped(order) => (
                Channel::Push,
                format!("Your {} is on its way", order.order_id),
                format!("{} carries it: {}.", order.carrier, order.tracking_number),
            ),
            Payload::OrderCancelled(order) => (
                Channel::Email,
                format!("Your {} was cancelled", order.order_id),
                order.reason.clone(),
            ),
            Payload::PaymentFailed(payment) => (
                Channel::Sms,
                format!("Payment for {} failed", payment.order_id),
                format!("The provider says: {}.", payment.reason),
            ),
            _ => return None,
        };
        let mut chance = self.chance(Service::Notification, event);
        let notification_id = chance.uuid(event.timestamp);
        let message = NotificationSent {
            notification_id,
            user_id,
            channel,
            subject,
            content,
        };
        Some(after(&mut chance, event, Service::Notification, message))
    }

    /// AuditService: every event it reads leaves an entry.
    pub fn audit(&self, event: &Event) -> Event {
        let (entity_type, outcome) = match &event.payload {
            Payload::UserRegistered(_) | Payload::UserUpdated(_) => ("user", "accepted"),
            Payload::ProductCreated(_) | Payload::InventoryChanged(_) => ("product", "accepted"),
            Payload::OrderCancelled(_) => ("order", "refused"),
            Payload::PaymentFailed(_) => ("payment", "refused"),
            Payload::PaymentInitiated(_) | Payload::PaymentCompleted(_) => ("payment", "accepted"),
            _ => ("order", "accepted"),
        };
        let entry = AuditRecorded {
            actor: event
                .on_behalf_of
                .clone()
                .unwrap_or_else(|| event.source.clone()),
            action: event.event_type().to_owned(),
            entity_type: entity_type.to_owned(),
            entity_id: event.key().to_owned(),
            outcome: outcome.to_owned(),
        };
        after(
            &mut self.chance(Service::Audit, event),
            event,
            Service::Audit,
            entry,
        )
    }

    /// InventoryService: an `inventory-changed` for what the stock-keeper did with one line of an order.
    pub fn inventory(
        &self,
        event: &Event,
        line: usize,
        change: crate::event::InventoryChanged,
    ) -> Event {
        let mut chance = self.seed.stream(&format!(
            "{}:{}:{line}",
            Service::Inventory,
            identity(event)
        ));
        after(&mut chance, event, Service::Inventory, change)
    }

    /// The stream for what `service` makes of `cause`. It hangs on the part of the cause's id that does not contain
    /// the time, so two runs with one seed draw the same.
    fn chance(&self, service: Service, cause: &Event) -> Stream {
        self.seed.stream(&format!("{service}:{}", identity(cause)))
    }
}

fn identity(event: &Event) -> String {
    event.event_id.as_bytes()[6..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// An event a moment after its cause.
fn after(
    chance: &mut Stream,
    cause: &Event,
    source: Service,
    payload: impl Into<Payload>,
) -> Event {
    let time = cause.timestamp + SignedDuration::from_millis(chance.between(200, 3_000));
    at(time, chance, cause, source, payload)
}

fn at(
    time: Timestamp,
    chance: &mut Stream,
    cause: &Event,
    source: Service,
    payload: impl Into<Payload>,
) -> Event {
    Event {
        event_id: chance.uuid(time),
        timestamp: time,
        version: EVENT_VERSION,
        source: source.name().to_owned(),
        correlation_id: cause.correlation_id,
        causation_id: Some(cause.event_id),
        on_behalf_of: cause.on_behalf_of.clone(),
        payload: payload.into(),
    }
}
