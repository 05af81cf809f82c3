//! The payloads: one struct for each event type, and the enum over them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::money::Money;
use crate::topic::Topic;

/// Declares the enum of payloads and, for each, its name, topic and key in one place.
macro_rules! payloads {
    ($($(#[$doc:meta])* $variant:ident $name:literal => $topic:ident by $key:ident;)*) => {
        /// What happened. `event_type` in JSON is the name of the variant in kebab case.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "event_type")]
        pub enum Payload {
            $($(#[$doc])* #[serde(rename = $name)] $variant($variant),)*
        }

        /// All event types, with the topic of each.
        pub const EVENT_TYPES: &[(&str, Topic)] = &[$(($name, Topic::$topic),)*];

        impl Payload {
            /// `user-registered` and the like.
            pub fn event_type(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The topic to which it belongs.
            pub fn topic(&self) -> Topic {
                match self { $(Self::$variant(_) => Topic::$topic,)* }
            }

            /// The record key.
            pub fn key(&self) -> &str {
                match self { $(Self::$variant(payload) => payload.$key.as_ref(),)* }
            }
        }

        $(impl From<$variant> for Payload {
            fn from(payload: $variant) -> Self {
                Self::$variant(payload)
            }
        })*
    };
}

payloads! {
    /// A customer signed up.
    UserRegistered "user-registered" => Users by user_id;
    /// A profile changed.
    UserUpdated "user-updated" => Users by user_id;
    /// A product entered the catalogue.
    ProductCreated "product-created" => Products by product_id;
    /// The stock of a product changed.
    InventoryChanged "inventory-changed" => Products by product_id;
    /// An order was placed.
    OrderPlaced "order-placed" => Orders by order_id;
    /// Its payment arrived.
    OrderConfirmed "order-confirmed" => Orders by order_id;
    /// It left the warehouse.
    OrderShipped "order-shipped" => Orders by order_id;
    /// It reached the customer.
    OrderDelivered "order-delivered" => Orders by order_id;
    /// It will not be fulfilled.
    OrderCancelled "order-cancelled" => Orders by order_id;
    /// A payment was asked of the provider.
    PaymentInitiated "payment-initiated" => Payments by order_id;
    /// The provider took the money.
    PaymentCompleted "payment-completed" => Payments by order_id;
    /// The provider refused.
    PaymentFailed "payment-failed" => Payments by order_id;
    /// A message went out to a customer.
    NotificationSent "notification-sent" => Notifications by user_id;
    /// A visitor looked at a page.
    PageViewed "page-viewed" => Analytics by page;
    /// Something was done that an auditor may ask about.
    AuditRecorded "audit-recorded" => Audit by entity_id;
}

/// Where a customer signed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RegistrationSource {
    Web,
    Mobile,
    Social,
    Referral,
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PaymentMethod {
    CreditCard,
    DebitCard,
    Paypal,
    ApplePay,
}

/// How a notification travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Channel {
    Email,
    Sms,
    Push,
}

/// A customer's profile as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegistered {
    /// `user-101`.
    pub user_id: String,
    /// Where notifications go.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Where the customer signed up.
    pub registration_source: RegistrationSource,
}

/// A changed profile. The topic is compacted, so the record carries the whole profile beside what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserUpdated {
    /// `user-101`.
    pub user_id: String,
    /// Field name → new value.
    pub updated_fields: BTreeMap<String, String>,
    /// The address after the change.
    pub email: String,
    /// The given name after the change.
    pub first_name: String,
    /// The family name after the change.
    pub last_name: String,
    /// Where the customer had signed up.
    pub registration_source: RegistrationSource,
}

/// A product of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductCreated {
    /// `laptop-pro-15`.
    pub product_id: String,
    /// `Laptop Pro 15`.
    pub name: String,
    /// One of the five categories.
    pub category: String,
    /// Price of one piece.
    pub price: Money,
    /// Pieces in stock at first.
    pub initial_inventory: i64,
}

/// A change of stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryChanged {
    /// Whose stock.
    pub product_id: String,
    /// Pieces before.
    pub previous_quantity: i64,
    /// Pieces after.
    pub new_quantity: i64,
    /// `order order-1001 placed`, `restock` and the like.
    pub change_reason: String,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderItem {
    /// What.
    pub product_id: String,
    /// How many.
    pub quantity: u32,
    /// Price of one piece when the order was placed.
    pub unit_price: Money,
}

/// Where an order goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Address {
    pub street: String,
    pub city: String,
    pub state: String,
    pub zip_code: String,
    pub country: String,
}

/// A placed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// `order-1001`.
    pub order_id: String,
    /// Who placed it.
    pub user_id: String,
    /// What was ordered, one to three lines.
    pub items: Vec<OrderItem>,
    /// Sum over the items.
    pub total_amount: Money,
    /// Where it goes.
    pub shipping_address: Address,
}

/// An order whose payment arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// Which order.
    pub order_id: String,
    /// What the customer quotes.
    pub confirmation_number: String,
    /// When it should arrive.
    pub estimated_delivery: Timestamp,
}

/// An order under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderShipped {
    /// Which order.
    pub order_id: String,
    /// Who carries it.
    pub carrier: String,
    /// Where to follow it.
    pub tracking_number: String,
}

/// An order that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDelivered {
    /// Which order.
    pub order_id: String,
    /// When.
    pub delivered_at: Timestamp,
}

/// An order given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// Which order.
    pub order_id: String,
    /// Why.
    pub reason: String,
}

/// A payment asked of the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentInitiated {
    /// `payment-1001`.
    pub payment_id: String,
    /// For which order.
    pub order_id: String,
    /// How much.
    pub amount: Money,
    /// By which means.
    pub payment_method: PaymentMethod,
}

/// A payment that went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCompleted {
    /// Which payment.
    pub payment_id: String,
    /// For which order.
    pub order_id: String,
    /// The provider's reference.
    pub transaction_id: String,
    /// How much.
    pub amount: Money,
}

/// A payment that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentFailed {
    /// Which payment.
    pub payment_id: String,
    /// For which order.
    pub order_id: String,
    /// What the provider said.
    pub reason: String,
    /// Whether another attempt could succeed.
    pub retryable: bool,
}

/// A message to a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationSent {
    /// Derived from the event that led to it, so a second delivery can be recognised.
    pub notification_id: Uuid,
    /// To whom.
    pub user_id: String,
    /// How.
    pub channel: Channel,
    /// First line.
    pub subject: String,
    /// The rest.
    pub content: String,
}

/// A visitor looked at a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageViewed {
    /// Who.
    pub user_id: String,
    /// Which page: the metric name, and the key.
    pub page: String,
    /// Which product, on a product page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecorded {
    /// Who acted: a service or a customer.
    pub actor: String,
    /// What was done: the type of the audited event.
    pub action: String,
    /// `user`, `order`, …
    pub entity_type: String,
    /// Whose history this belongs to: the key.
    pub entity_id: String,
    /// `accepted`, `refused` and the like.
    pub outcome: String,
}
