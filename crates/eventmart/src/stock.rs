//! The stock-keeper's book: what InventoryService knows, shared by the members of its group as a database would be.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Event, InventoryChanged, OrderItem, Payload};
use crate::platform::Service;

/// Stock by product, and what each open order took.
///
/// Orders of one product lie in different partitions and so may be handled by different members: the book is shared,
/// and an event is entered once however often it is delivered.
#[derive(Debug, Default)]
pub struct Stock {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    pieces: HashMap<String, i64>,
    taken: HashMap<String, Vec<OrderItem>>,
    /// What each handled event led to, so that a redelivery gives the same answer and changes nothing.
    entered: HashMap<Uuid, Vec<InventoryChanged>>,
    /// Changes of stock that have been counted.
    counted: HashSet<Uuid>,
}

/// An order for something that is not in the catalogue; it may be there a moment later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("product {product_id} is not in the catalogue yet")]
pub struct UnknownProduct {
    /// Which product.
    pub product_id: String,
}

impl Stock {
    /// The book as the two topics tell it: `products` and `orders` are all their events, each partition in order.
    ///
    /// An order whose changes are on the topic counts as handled, so its redelivery changes nothing; lines that a
    /// stock-keeper who was stopped in the middle did not write are made good.
    pub fn recall(products: &[Event], orders: &[Event]) -> Self {
        let mut book = Book::default();
        for event in products {
            book.recall_product(event);
        }
        for event in orders {
            book.recall_order(event);
        }
        Self {
            book: Mutex::new(book),
        }
    }

    /// Enters an event and says how the stock changed because of it; other services' events about stock change the
    /// book without a new event.
    ///
    /// # Errors
    /// When an order names a product whose `product-created` has not been read.
    pub fn enter(&self, event: &Event) -> Result<Vec<InventoryChanged>, UnknownProduct> {
        let mut book = self.book.lock();
        if let Some(known) = book.entered.get(&event.event_id) {
            return Ok(known.clone());
        }
        let changes = match &event.payload {
            Payload::ProductCreated(product) => {
                book.pieces
                    .insert(product.product_id.clone(), product.initial_inventory);
                Vec::new()
            }
            // Its own records come back to it, since it reads the topic it writes: `source` stops the loop.
            Payload::InventoryChanged(_) if event.source == Service::Inventory.name() => Vec::new(),
            Payload::InventoryChanged(change) => {
                if book.counted.insert(event.event_id) {
                    *book.pieces.entry(change.product_id.clone()).or_default() +=
                        change.new_quantity - change.previous_quantity;
                }
                Vec::new()
            }
            Payload::OrderPlaced(order) => {
                if let Some(item) = order
                    .items
                    .iter()
                    .find(|item| !book.pieces.contains_key(&item.product_id))
                {
                    return Err(UnknownProduct {
                        product_id: item.product_id.clone(),
                    });
                }
                book.taken
                    .insert(order.order_id.clone(), order.items.clone());
                book.change(&order.items, -1, &format!("{} placed", order.order_id))
            }
            Payload::OrderCancelled(order) => {
                let items = book.taken.remove(&order.order_id).unwrap_or_default();
                book.change(&items, 1, &format!("{} cancelled", order.order_id))
            }
            _ => Vec::new(),
        };
        book.entered.insert(event.event_id, changes.clone());
        Ok(changes)
    }

    /// Pieces of one product, if it is in the catalogue.
    pub fn pieces(&self, product_id: &str) -> Option<i64> {
        self.book.lock().pieces.get(product_id).copied()
    }

    /// Pieces of all products together.
    pub fn total(&self) -> i64 {
        self.book.lock().pieces.values().sum()
    }
}

impl Book {
    fn recall_product(&mut self, event: &Event) {
        match &event.payload {
            Payload::ProductCreated(product) => {
                self.pieces
                    .insert(product.product_id.clone(), product.initial_inventory);
                self.entered.insert(event.event_id, Vec::new());
            }
            Payload::InventoryChanged(change) if self.counted.insert(event.event_id) => {
                *self.pieces.entry(change.product_id.clone()).or_default() +=
                    change.new_quantity - change.previous_quantity;
                if event.source == Service::Inventory.name()
                    && let Some(cause) = event.causation_id
                {
                    self.entered.entry(cause).or_default().push(change.clone());
                }
            }
            _ => {}
        }
    }

    fn recall_order(&mut self, event: &Event) {
        if !self.entered.contains_key(&event.event_id) {
            return;
        }
        match &event.payload {
            Payload::OrderPlaced(order) => {
                self.taken
                    .insert(order.order_id.clone(), order.items.clone());
                let reason = format!("{} placed", order.order_id);
                self.complete(event.event_id, &order.items, -1, &reason);
            }
            Payload::OrderCancelled(order) => {
                let items = self.taken.remove(&order.order_id).unwrap_or_default();
                let reason = format!("{} cancelled", order.order_id);
                self.complete(event.event_id, &items, 1, &reason);
            }
            _ => {}
        }
    }

    /// Makes good what is missing of an event's changes, and puts them in the order of its items.
    fn complete(&mut self, event_id: Uuid, items: &[OrderItem], sign: i64, reason: &str) {
        let mut written = self.entered.remove(&event_id).unwrap_or_default();
        let mut changes = Vec::new();
        for item in items {
            let known = written
                .iter()
                .position(|change| change.product_id == item.product_id);
            match known {
                Some(at) => changes.push(written.swap_remove(at)),
                None => changes.extend(self.change(std::slice::from_ref(item), sign, reason)),
            }
        }
        self.entered.insert(event_id, changes);
    }

    fn change(&mut self, items: &[OrderItem], sign: i64, reason: &str) -> Vec<InventoryChanged> {
        items
            .iter()
            .map(|item| {
                let pieces = self.pieces.entry(item.product_id.clone()).or_default();
                let previous_quantity = *pieces;
                *pieces += sign * i64::from(item.quantity);
                InventoryChanged {
                    product_id: item.product_id.clone(),
                    previous_quantity,
                    new_quantity: *pieces,
                    change_reason: reason.to_owned(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Generator, Volume};
    use crate::reaction::Reactions;
    use crate::seed::Seed;

    /// The seeded catalogue and orders, every third of which is cancelled, and what a stock-keeper wrote about them.
    struct Told {
        products: Vec<Event>,
        orders: Vec<Event>,
        written: Vec<Event>,
        stock: Stock,
    }

    fn enter(stock: &Stock, reactions: Reactions, event: &Event) -> Vec<Event> {
        let changes = stock.enter(event).unwrap().into_iter().enumerate();
        changes
            .map(|(line, change)| reactions.inventory(event, line, change))
            .collect()
    }

    fn told() -> (Reactions, Told) {
        let seed = Seed::new(42, jiff::Timestamp::UNIX_EPOCH);
        let reactions = Reactions::new(seed);
        let generator = Generator::new(seed, Volume::default());
        let (users, products) = (generator.users(), generator.products());
        let placed: Vec<Event> = generator
            .sessions(&users, &products)
            .into_iter()
            .filter_map(|session| session.order)
            .collect();
        let cancelled = placed.iter().step_by(3).map(|order| Event {
            event_id: Uuid::from_u128(order.event_id.as_u128() ^ 1),
            payload: Payload::OrderCancelled(crate::event::OrderCancelled {
                order_id: order.key().to_owned(),
                reason: "payment failed".to_owned(),
            }),
            ..order.clone()
        });
        let cancelled: Vec<Event> = cancelled.collect();
        let orders = [placed, cancelled].concat();
        let stock = Stock::default();
        for product in &products {
            enter(&stock, reactions, product);
        }
        let written: Vec<Event> = orders
            .iter()
            .flat_map(|order| enter(&stock, reactions, order))
            .collect();
        assert!(orders.len() > 30 && written.len() > orders.len());
        let told = Told {
            products,
            orders,
            written,
            stock,
        };
        (reactions, told)
    }

    #[test]
    fn a_recalled_book_has_the_same_stock_and_gives_the_same_answers() {
        let (reactions, told) = told();
        // The loop back of what was written, and a redelivery of all of it, count once.
        let on_topic = [
            told.products.clone(),
            told.written.clone(),
            told.written.clone(),
        ]
        .concat();
        let recalled = Stock::recall(&on_topic, &told.orders);
        for product in &told.products {
            assert_eq!(
                recalled.pieces(product.key()),
                told.stock.pieces(product.key())
            );
        }
        let again: Vec<Event> = told
            .products
            .iter()
            .chain(&told.orders)
            .flat_map(|event| enter(&recalled, reactions, event))
            .collect();
        assert_eq!(again, told.written, "a redelivery leads to the same events");
        assert_eq!(recalled.total(), told.stock.total());
    }

    #[test]
    fn a_stop_at_any_record_is_made_good() {
        let (reactions, told) = told();
        for kept in 0..told.written.len() {
            let on_topic = [&told.products[..], &told.written[..kept]].concat();
            let recalled = Stock::recall(&on_topic, &told.orders);
            for order in &told.orders {
                enter(&recalled, reactions, order);
            }
            assert_eq!(
                recalled.total(),
                told.stock.total(),
                "stopped after {kept} records"
            );
        }
    }
}
