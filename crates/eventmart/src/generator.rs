//! The demo's story, from a seed: customers, a catalogue, visits, some of which end in an order.
//!
//! What the services make of it (payments, confirmations, notifications, …) is in [`crate::reaction`].

mod words;

use jiff::{SignedDuration, Timestamp};

use crate::event::{
    Address, EVENT_VERSION, Event, OrderItem, OrderPlaced, PageViewed, Payload, ProductCreated,
    RegistrationSource, UserRegistered, UserUpdated,
};
use crate::money::Money;
use crate::platform::Service;
use crate::seed::{Seed, Stream};

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Customers who sign up.
    pub users: usize,
    /// Products of the catalogue, at most [`Generator::CATALOGUE`].
    pub products: usize,
    /// Visits to the shop.
    pub sessions: usize,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            users: 50,
            products: 20,
            sessions: 100,
        }
    }
}

/// One visit: the pages looked at, and the order it ended in, if it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `page-viewed` events, in order.
    pub views: Vec<Event>,
    /// The `order-placed` event, later than all views.
    pub order: Option<Event>,
}

/// Invents the story. The same seed, start and volume give the same events, bit for bit.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: Seed,
    volume: Volume,
}

/// Percentage of visits that end in an order.
pub const ORDERING_SESSIONS_PERCENT: i64 = 30;

// Milliseconds before the start of the run. The last minute is left to what the services derive.
const CATALOGUE_FROM: i64 = 600_000;
const SIGN_UPS_FROM: i64 = 560_000;
const VISITS_FROM: i64 = 480_000;
const VISITS_UNTIL: i64 = 90_000;

impl Generator {
    /// Products there are names for.
    pub const CATALOGUE: usize = words::PRODUCTS.len();

    /// A generator of that much.
    pub fn new(seed: Seed, volume: Volume) -> Self {
        Self {
            seed,
            volume: Volume {
                products: volume.products.min(Self::CATALOGUE),
                ..volume
            },
        }
    }

    /// The seed it draws from.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The catalogue: `product-created` events, the first of them Laptop Pro 15.
    pub fn products(&self) -> Vec<Event> {
        let mut chance = self.seed.stream("products");
        let rows = words::PRODUCTS
            .iter()
            .take(self.volume.products)
            .enumerate();
        rows.map(|(at, row)| {
            let time = self.seed.before_start(CATALOGUE_FROM - 1_000 * at as i64);
            let product = ProductCreated {
                product_id: words::slug(row.name),
                name: row.name.to_owned(),
                category: row.category.to_owned(),
                price: Money::from_cents(
                    chance.between(row.cents.0 / 100, row.cents.1 / 100) * 100 - 1,
                ),
                initial_inventory: chance.between(20, 40) * 10,
            };
            self.begin(&mut chance, time, Service::Product, None, product)
        })
        .collect()
    }

    /// The sign-ups: `user-registered` events.
    pub fn users(&self) -> Vec<Event> {
        let spacing = (SIGN_UPS_FROM - VISITS_FROM) / (self.volume.users.max(1) as i64 + 1);
        self.sign_ups("users", 101, self.volume.users, SIGN_UPS_FROM, spacing)
    }

    /// More sign-ups, after the visits; numbered on from [`Self::users`].
    pub fn late_users(&self, count: usize) -> Vec<Event> {
        self.sign_ups(
            "late users",
            101 + self.volume.users,
            count,
            VISITS_UNTIL,
            1_000,
        )
    }

    fn sign_ups(
        &self,
        purpose: &str,
        first: usize,
        count: usize,
        from: i64,
        spacing: i64,
    ) -> Vec<Event> {
        let mut chance = self.seed.stream(purpose);
        (0..count)
            .map(|at| {
                let time = self.seed.before_start(from - spacing * at as i64);
                let user = profile(&mut chance, first + at);
                let user_id = user.user_id.clone();
                self.begin(&mut chance, time, Service::User, Some(user_id), user)
            })
            .collect()
    }

    /// One `user-updated` for every tenth of the given sign-ups: a new address.
    pub fn updates(&self, users: &[Event]) -> Vec<Event> {
        let mut chance = self.seed.stream("updates");
        let every_tenth = users.iter().skip(4).step_by(10);
        every_tenth
            .filter_map(|registered| {
                let Payload::UserRegistered(user) = &registered.payload else {
                    return None;
                };
                let email =
                    format!("{}.{}@example.net", user.first_name, user.last_name).to_lowercase();
                let update = UserUpdated {
                    user_id: user.user_id.clone(),
                    updated_fields: [("email".to_owned(), email.clone())].into(),
                    email,
                    first_name: user.first_name.clone(),
                    last_name: user.last_name.clone(),
                    registration_source: user.registration_source,
                };
                let time =
                    registered.timestamp + SignedDuration::from_millis(chance.between(500, 5_000));
                Some(self.follow(&mut chance, time, Service::User, registered, update))
            })
            .collect()
    }

    /// The visits, in the order in which they begin. `users` and `products` are those of this generator.
    pub fn sessions(&self, users: &[Event], products: &[Event]) -> Vec<Session> {
        if users.is_empty() || products.is_empty() {
            return Vec::new();
        }
        let mut chance = self.seed.stream("sessions");
        let spacing = (VISITS_FROM - VISITS_UNTIL) / (self.volume.sessions.max(1) as i64 + 1);
        let mut orders = 1_000;
        (0..self.volume.sessions)
            .map(|at| {
                let begin = self.seed.before_start(VISITS_FROM - spacing * at as i64);
                let views = self.views(&mut chance, begin, users, products);
                let order = chance.percent(ORDERING_SESSIONS_PERCENT).then(|| {
                    orders += 1;
                    self.order(&mut chance, orders, &views, products)
                });
                Session { views, order }
            })
            .collect()
    }

    /// One to four pages of one visitor.
    fn views(
        &self,
        chance: &mut Stream,
        begin: Timestamp,
        users: &[Event],
        products: &[Event],
    ) -> Vec<Event> {
        let user_id = chance.pick(users).key().to_owned();
        let mut views: Vec<Event> = Vec::new();
        let mut time = begin;
        for _ in 0..chance.between(1, 4) {
            let product_id = chance
                .percent(70)
                .then(|| chance.pick(products).key().to_owned());
            let page = if product_id.is_some() {
                "product"
            } else {
                *chance.pick(&["home", "category", "search"])
            };
            let view = PageViewed {
                user_id: user_id.clone(),
                page: page.to_owned(),
                product_id,
            };
            let event = match views.last() {
                None => self.begin(chance, time, Service::Visitor, Some(user_id.clone()), view),
                Some(previous) => self.follow(chance, time, Service::Visitor, previous, view),
            };
            views.push(event);
            time += SignedDuration::from_millis(chance.between(800, 3_000));
        }
        views
    }

    /// An order of one to three different products, caused by the last page looked at.
    fn order(
        &self,
        chance: &mut Stream,
        number: u32,
        views: &[Event],
        products: &[Event],
    ) -> Event {
        let last = &views[views.len() - 1];
        let mut items: Vec<OrderItem> = Vec::new();
        for _ in 0..chance.between(1, 3) {
            let Payload::ProductCreated(product) = &chance.pick(products).payload else {
                continue;
            };
            if items
                .iter()
                .all(|item| item.product_id != product.product_id)
            {
                items.push(OrderItem {
                    product_id: product.product_id.clone(),
                    quantity: chance.between(1, 3) as u32,
                    unit_price: product.price,
                });
            }
        }
        let order = OrderPlaced {
            order_id: format!("order-{number}"),
            user_id: last.on_behalf_of.clone().unwrap_or_default(),
            total_amount: items
                .iter()
                .map(|item| item.unit_price * item.quantity)
                .sum(),
            items,
            shipping_address: address(chance),
        };
        let time = last.timestamp + SignedDuration::from_millis(chance.between(500, 2_000));
        self.follow(chance, time, Service::Order, last, order)
    }

    /// An event that nothing on the platform caused: it begins a journey.
    fn begin(
        &self,
        chance: &mut Stream,
        time: Timestamp,
        source: Service,
        customer: Option<String>,
        payload: impl Into<Payload>,
    ) -> Event {
        Event {
            event_id: chance.uuid(time),
            timestamp: time,
            version: EVENT_VERSION,
            source: source.name().to_owned(),
            correlation_id: chance.uuid(time),
            causation_id: None,
            on_behalf_of: customer,
            payload: payload.into(),
        }
    }

    /// An event of the same journey as `cause`.
    fn follow(
        &self,
        chance: &mut Stream,
        time: Timestamp,
        source: Service,
        cause: &Event,
        payload: impl Into<Payload>,
    ) -> Event {
        Event {
            correlation_id: cause.correlation_id,
            causation_id: Some(cause.event_id),
            ..self.begin(
                chance,
                time.min(self.seed.start()),
                source,
                cause.on_behalf_of.clone(),
                payload,
            )
        }
    }
}

fn profile(chance: &mut Stream, number: usize) -> UserRegistered {
    let first_name = *chance.pick(words::FIRST_NAMES);
    let last_name = *chance.pick(words::LAST_NAMES);
    use RegistrationSource::{Mobile, Referral, Social, Web};
    UserRegistered {
        user_id: format!("user-{number}"),
        email: format!("{first_name}.{last_name}{number}@example.com").to_lowercase(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
        registration_source: *chance.pick(&[Web, Web, Mobile, Social, Referral]),
    }
}

fn address(chance: &mut Stream) -> Address {
    let (city, state, zip) = *chance.pick(words::CITIES);
    Address {
        street: format!("{} {}", chance.between(1, 999), chance.pick(words::STREETS)),
        city: city.to_owned(),
        state: state.to_owned(),
        zip_code: format!("{zip}{:02}", chance.between(0, 99)),
        country: "US".to_owned(),
    }
}
