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
    restocked: HashSet<Uuid>,
}

/// An order for something that is not in the catalogue; it may be there a moment later.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("product {product_id} is not in the catalogue yet")]
pub struct UnknownProduct {
    /// Which product.
    pub product_id: String,
}

impl Stock {
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
                if book.restocked.insert(event.event_id) {
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
