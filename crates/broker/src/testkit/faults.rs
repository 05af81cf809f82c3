//! Scripted faults, and the record of what clients asked.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::broker::NodeId;
use crate::codec::{CodecError, Header};

/// How many requests are remembered; older ones are forgotten.
const OBSERVED_MAX: usize = 100_000;
/// How many bytes of request bodies are remembered.
const OBSERVED_BYTES_MAX: usize = 16 << 20;

/// A request as a node saw it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The node that read it.
    pub node: NodeId,
    /// Which API.
    pub api: ApiKey,
    /// Which version of it.
    pub version: i16,
    /// The client's number for it.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
    /// The body, header excluded; empty once too many bytes are remembered.
    pub body: Bytes,
}

impl Observed {
    pub(crate) fn new(node: NodeId, header: &Header, body: &Bytes) -> Self {
        Self {
            node,
            api: header.api,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.clone(),
            body: body.clone(),
        }
    }
}

type Respond = Arc<dyn Fn(i16, Bytes) -> Result<BytesMut, CodecError> + Send + Sync>;

/// What happens to a request instead of the ordinary answer.
#[derive(Clone)]
pub(crate) enum Effect {
    Reject(ErrorCode),
    Throttle(Duration),
    Delay(Duration),
    Hold(watch::Receiver<bool>),
    Disconnect,
    Silence,
    ApplyThenDisconnect,
    RespondWith(Respond),
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reject(_) => "Reject",
            Self::Throttle(_) => "Throttle",
            Self::Delay(_) => "Delay",
            Self::Hold(_) => "Hold",
            Self::Disconnect => "Disconnect",
            Self::Silence => "Silence",
            Self::ApplyThenDisconnect => "ApplyThenDisconnect",
            Self::RespondWith(_) => "RespondWith",
        })
    }
}

type Predicate = Arc<dyn Fn(&Observed) -> bool + Send + Sync>;

/// When an effect applies, and how often still.
pub(crate) struct Rule {
    pub(crate) api: ApiKey,
    pub(crate) node: Option<NodeId>,
    pub(crate) matching: Option<Predicate>,
    pub(crate) skip: u32,
    pub(crate) remaining: u32,
    pub(crate) effect: Effect,
}

impl Rule {
    fn applies(&self, request: &Observed) -> bool {
        self.remaining > 0
            && self.api == request.api
            && self.node.is_none_or(|node| node == request.node)
            && self
                .matching
                .as_ref()
                .is_none_or(|matching| matching(request))
    }
}

/// The script of a test, and what has been observed so far. Idle outside the test-kit.
#[derive(Default)]
pub(crate) struct Faults {
    recording: bool,
    state: Mutex<State>,
    /// Requests observed in all; grows with each.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    observed: VecDeque<Observed>,
    observed_bytes: usize,
}

impl Faults {
    pub(crate) fn recording() -> Self {
        Self {
            recording: true,
            ..Self::default()
        }
    }

    /// Notes a request and says what is to be done with it.
    pub(crate) fn observe(&self, request: Observed) -> Option<Effect> {
        if !self.recording {
            return None;
        }
        let effect = {
            let mut state = self.state.lock();
            let effect = state.effect(&request);
            state.remember(request);
            effect
        };
        self.count.send_modify(|count| *count += 1);
        effect
    }

    pub(crate) fn add(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    pub(crate) fn clear(&self) {
        self.state.lock().rules.clear();
    }

    pub(crate) fn observed(&self) -> Vec<Observed> {
        self.state.lock().observed.iter().cloned().collect()
    }

    /// Wakes with every request.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}

impl State {
    fn effect(&mut self, request: &Observed) -> Option<Effect> {
        for rule in self.rules.iter_mut().filter(|rule| rule.applies(request)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.remaining -= 1;
            return Some(rule.effect.clone());
        }
        None
    }

    fn remember(&mut self, mut request: Observed) {
        if self.observed.len() == OBSERVED_MAX {
            self.observed.pop_front();
        }
        self.observed_bytes += request.body.len();
        if self.observed_bytes > OBSERVED_BYTES_MAX {
            self.observed_bytes = 0;
            for old in &mut self.observed {
                old.body = Bytes::new();
            }
            request.body = Bytes::new();
        }
        self.observed.push_back(request);
    }
}
