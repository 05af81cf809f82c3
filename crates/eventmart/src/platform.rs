//! The services of the platform: who writes and who reads.

use std::fmt;
use std::str::FromStr;

use crate::topic::Topic;

/// A service, or the visitors of the shop, who write as one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Sign-ups and profile changes.
    User,
    /// The catalogue and restocking.
    Product,
    /// The life of orders.
    Order,
    /// Payments.
    Payment,
    /// Messages to customers.
    Notification,
    /// Figures.
    Analytics,
    /// The audit log.
    Audit,
    /// Stock.
    Inventory,
    /// The seeded visitors of the shop.
    Visitor,
}

/// What a service is called and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Which service.
    pub service: Service,
    /// The `source` of its events.
    pub name: &'static str,
    /// Its name on the command line; the last part of its group's name.
    pub slug: &'static str,
    /// Topics to which it writes.
    pub writes: &'static [Topic],
    /// Topics that its group reads; none for a service that only writes.
    pub reads: &'static [Topic],
    /// What it does, in a line.
    pub task: &'static str,
}

use Topic::{Analytics, Audit, Notifications, Orders, Payments, Products, Users};

/// Who writes and who reads. No service reads what it writes, products aside, where `source` stops the loop.
pub const SERVICES: [ServiceSpec; 9] = [
    row(
        Service::User,
        "UserService",
        "user",
        &[Users],
        &[],
        "registers customers and changes their profiles",
    ),
    row(
        Service::Product,
        "ProductService",
        "product",
        &[Products],
        &[],
        "creates the catalogue and restocks it",
    ),
    row(
        Service::Order,
        "OrderService",
        "order",
        &[Orders],
        &[Payments],
        "takes orders; confirms or cancels them by their payment",
    ),
    row(
        Service::Payment,
        "PaymentService",
        "payment",
        &[Payments],
        &[Orders],
        "charges each placed order",
    ),
    row(
        Service::Notification,
        "NotificationService",
        "notification",
        &[Notifications],
        &[Users, Orders, Payments],
        "writes to customers about what concerns them",
    ),
    row(
        Service::Analytics,
        "AnalyticsService",
        "analytics",
        &[],
        &[Users, Products, Orders, Payments, Notifications, Analytics],
        "counts: orders, revenue, page views",
    ),
    row(
        Service::Audit,
        "AuditService",
        "audit",
        &[Audit],
        &[Users, Products, Orders, Payments],
        "records who did what",
    ),
    row(
        Service::Inventory,
        "InventoryService",
        "inventory",
        &[Products],
        &[Orders, Products],
        "takes ordered pieces from stock and puts cancelled ones back",
    ),
    row(
        Service::Visitor,
        "ShopVisitor",
        "visitor",
        &[Analytics],
        &[],
        "looks at pages; some visits end in an order",
    ),
];

const fn row(
    service: Service,
    name: &'static str,
    slug: &'static str,
    writes: &'static [Topic],
    reads: &'static [Topic],
    task: &'static str,
) -> ServiceSpec {
    ServiceSpec {
        service,
        name,
        slug,
        writes,
        reads,
        task,
    }
}

impl Service {
    /// Its row of [`SERVICES`].
    pub fn spec(self) -> &'static ServiceSpec {
        &SERVICES[self as usize]
    }

    /// The `source` of its events.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// Its name on the command line.
    pub fn slug(self) -> &'static str {
        self.spec().slug
    }

    /// The plain name of its consumer group.
    pub fn group(self) -> String {
        format!("eventmart-{}", self.slug())
    }

    /// Services with a group of their own.
    pub fn readers() -> impl Iterator<Item = Self> {
        SERVICES
            .iter()
            .filter(|spec| !spec.reads.is_empty())
            .map(|spec| spec.service)
    }

    /// Services whose group reads `topic`.
    pub fn readers_of(topic: Topic) -> impl Iterator<Item = Self> {
        SERVICES
            .iter()
            .filter(move |spec| spec.reads.contains(&topic))
            .map(|spec| spec.service)
    }

    /// Services that write to `topic`.
    pub fn writers_of(topic: Topic) -> impl Iterator<Item = Self> {
        SERVICES
            .iter()
            .filter(move |spec| spec.writes.contains(&topic))
            .map(|spec| spec.service)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Service {
    type Err = String;

    /// By the name on the command line.
    fn from_str(slug: &str) -> Result<Self, Self::Err> {
        let spec = SERVICES.iter().find(|spec| spec.slug == slug);
        spec.map(|spec| spec.service)
            .ok_or_else(|| format!("{slug} is not a service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_finds_its_own_row() {
        for spec in &SERVICES {
            assert_eq!(spec.service.spec().name, spec.name);
            assert_eq!(spec.slug.parse::<Service>(), Ok(spec.service));
        }
    }

    #[test]
    fn no_service_reads_what_it_writes_but_inventory_its_products() {
        let loops: Vec<_> = SERVICES
            .iter()
            .flat_map(|spec| {
                spec.reads
                    .iter()
                    .filter(|topic| spec.writes.contains(topic))
                    .map(|topic| (spec.service, *topic))
            })
            .collect();
        assert_eq!(loops, [(Service::Inventory, Topic::Products)]);
    }

    #[test]
    fn every_topic_has_a_writer_and_all_but_audit_a_reader() {
        for topic in Topic::all() {
            assert!(Service::writers_of(topic).count() > 0, "{topic}");
            assert_eq!(
                Service::readers_of(topic).count() > 0,
                topic != Topic::Audit,
                "{topic}"
            );
        }
    }
}
