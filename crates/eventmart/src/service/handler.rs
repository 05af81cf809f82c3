//! What each service does with an event. The bookkeeping of groups and commits is in [`crate::service::member`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use uuid::Uuid;

use crate::event::{Event, Payload};
use crate::money::Money;
use crate::platform::Service;
use crate::reaction::Reactions;
use crate::stock::Stock;

/// Turns an event into the events it leads to. Handling an event twice must lead to the same events.
pub trait Handler: Send + Sync + 'static {
    /// Whose handler it is.
    fn service(&self) -> Service;

    /// The events that this one leads to, perhaps none.
    ///
    /// # Errors
    /// Says whether another attempt can help.
    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError>;
}

/// Why an event was not handled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandleError {
    /// It may work in a moment.
    #[error("{0}")]
    Transient(String),
    /// It will never work.
    #[error("{0}")]
    Poisoned(String),
}

/// The handler of a service that reads; `None` for one that only writes.
pub fn handler_of(
    service: Service,
    reactions: Reactions,
    gateway: Arc<Gateway>,
) -> Option<Arc<dyn Handler>> {
    Some(match service {
        Service::Order => Arc::new(Ordering { reactions }),
        Service::Payment => Arc::new(Charging { reactions }),
        Service::Notification => Arc::new(Notifying { reactions, gateway }),
        Service::Audit => Arc::new(Auditing { reactions }),
        Service::Inventory => stock_keeper(reactions, Stock::default()),
        Service::Analytics => Arc::new(Figures::default()),
        Service::User | Service::Product | Service::Visitor => return None,
    })
}

/// The handler of InventoryService, with a book that may hold something already.
pub(crate) fn stock_keeper(reactions: Reactions, stock: Stock) -> Arc<dyn Handler> {
    Arc::new(Keeping { reactions, stock })
}

struct Ordering {
    reactions: Reactions,
}

impl Handler for Ordering {
    fn service(&self) -> Service {
        Service::Order
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        Ok(self.reactions.order(event))
    }
}

struct Charging {
    reactions: Reactions,
}

impl Handler for Charging {
    fn service(&self) -> Service {
        Service::Payment
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        Ok(self.reactions.payment(event))
    }
}

struct Notifying {
    reactions: Reactions,
    gateway: Arc<Gateway>,
}

impl Handler for Notifying {
    fn service(&self) -> Service {
        Service::Notification
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        let Some(message) = self.reactions.notification(event) else {
            return Ok(Vec::new());
        };
        self.gateway.deliver(event)?;
        Ok(vec![message])
    }
}

/// The mail and message provider, who delivers unless a script says otherwise.
#[derive(Debug, Default)]
pub struct Gateway {
    refusals: Mutex<HashMap<Uuid, u32>>,
}

impl Gateway {
    /// Refuses the message that this event leads to `times` times; `u32::MAX` means always.
    pub fn refuse(&self, event: &Event, times: u32) {
        self.refusals.lock().insert(event.event_id, times);
    }

    fn deliver(&self, event: &Event) -> Result<(), HandleError> {
        let mut refusals = self.refusals.lock();
        match refusals.get_mut(&event.event_id) {
            None | Some(0) => Ok(()),
            Some(left) => {
                if *left != u32::MAX {
                    *left -= 1;
                }
                Err(HandleError::Transient(
                    "mail gateway answers 503".to_owned(),
                ))
            }
        }
    }
}

struct Auditing {
    reactions: Reactions,
}

impl Handler for Auditing {
    fn service(&self) -> Service {
        Service::Audit
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        Ok(vec![self.reactions.audit(event)])
    }
}

struct Keeping {
    reactions: Reactions,
    stock: Stock,
}

impl Handler for Keeping {
    fn service(&self) -> Service {
        Service::Inventory
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        let changes = self
            .stock
            .enter(event)
            .map_err(|unknown| HandleError::Transient(unknown.to_string()))?;
        let lines = changes.into_iter().enumerate();
        Ok(lines
            .map(|(line, change)| self.reactions.inventory(event, line, change))
            .collect())
    }
}

/// AnalyticsService: counts, each event once however often it is delivered.
#[derive(Debug, Default)]
pub struct Figures {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    seen: HashSet<Uuid>,
    by_type: BTreeMap<&'static str, u64>,
    revenue: Money,
}

impl Figures {
    /// Events of that type.
    pub fn count(&self, event_type: &str) -> u64 {
        self.counted
            .lock()
            .by_type
            .get(event_type)
            .copied()
            .unwrap_or_default()
    }

    /// The sum of all completed payments.
    pub fn revenue(&self) -> Money {
        self.counted.lock().revenue
    }
}

impl Handler for Figures {
    fn service(&self) -> Service {
        Service::Analytics
    }

    fn handle(&self, event: &Event) -> Result<Vec<Event>, HandleError> {
        let mut counted = self.counted.lock();
        if counted.seen.insert(event.event_id) {
            *counted.by_type.entry(event.event_type()).or_default() += 1;
            if let Payload::PaymentCompleted(payment) = &event.payload {
                counted.revenue += payment.amount;
            }
        }
        Ok(Vec::new())
    }
}

/// A reader that does nothing: it stands beside a service where only the group's behaviour is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watching(pub Service);

impl Handler for Watching {
    fn service(&self) -> Service {
        self.0
    }

    fn handle(&self, _event: &Event) -> Result<Vec<Event>, HandleError> {
        Ok(Vec::new())
    }
}
