//! The words a test uses to script faults: `broker.on(ApiKey::Produce).times(2).error(…)`.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use ferrokafka_wire::protocol::Request;
use tokio::sync::watch;

use super::TestBroker;
use super::faults::{Effect, Observed, Rule};
use crate::broker::NodeId;
use crate::codec;

/// Which requests a fault is for; ends with the fault itself. Faults of one API apply in the order in
/// which they were scripted, each until it has been used up.
#[must_use = "nothing is scripted until the fault itself is named"]
pub struct On<'a> {
    broker: &'a TestBroker,
    rule: Rule,
}

/// Requests held back by [`On::hold`]; released by [`release`](Self::release) or by being dropped.
#[derive(Debug)]
pub struct Hold {
    released: watch::Sender<bool>,
}

impl Hold {
    /// Lets the held requests go on, and later ones pass.
    pub fn release(self) {
        self.released.send_replace(true);
    }
}

impl<'a> On<'a> {
    pub(crate) fn new(broker: &'a TestBroker, api: ApiKey) -> Self {
        let rule = Rule {
            api,
            node: None,
            matching: None,
            skip: 0,
            remaining: 1,
            effect: Effect::Disconnect,
        };
        Self { broker, rule }
    }

    /// How many requests; one unless said otherwise.
    pub fn times(mut self, times: u32) -> Self {
        self.rule.remaining = times;
        self
    }

    /// Every such request until [`TestBroker::clear_faults`].
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    /// Only after this many such requests went through.
    pub fn after(mut self, requests: u32) -> Self {
        self.rule.skip = requests;
        self
    }

    /// Only requests that this node reads.
    pub fn node(mut self, node: NodeId) -> Self {
        self.rule.node = Some(node);
        self
    }

    /// Only requests for which `matching` holds.
    pub fn matching(
        mut self,
        matching: impl Fn(&Observed) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rule.matching = Some(Arc::new(matching));
        self
    }

    /// Answers this error for everything the request asked, without doing it.
    pub fn error(self, error: ErrorCode) {
        self.script(Effect::Reject(error));
    }

    /// Does the request after a while.
    pub fn delay(self, pause: Duration) {
        self.script(Effect::Delay(pause));
    }

    /// Does the request and asks the client to pause.
    pub fn throttle(self, pause: Duration) {
        self.script(Effect::Throttle(pause));
    }

    /// Closes the connection without doing the request.
    pub fn disconnect(self) {
        self.script(Effect::Disconnect);
    }

    /// Neither does the request nor ever answers on this connection again.
    pub fn silence(self) {
        self.script(Effect::Silence);
    }

    /// Does the request, then closes the connection instead of answering.
    pub fn apply_then_disconnect(self) {
        self.script(Effect::ApplyThenDisconnect);
    }

    /// Does the request once the returned handle lets it.
    pub fn hold(self) -> Hold {
        let (released, watch) = watch::channel(false);
        self.script(Effect::Hold(watch));
        Hold { released }
    }

    /// Answers what `respond` makes of the version and the request, which must be of the API named.
    pub fn respond_with<R: Request>(
        self,
        respond: impl Fn(i16, R) -> R::Response + Send + Sync + 'static,
    ) {
        let api = self.rule.api;
        debug_assert_eq!(api as i16, R::KEY, "the request type belongs to the API");
        self.script(Effect::RespondWith(Arc::new(move |version, body| {
            let request = codec::decode_request::<R>(api, version, body)?;
            codec::encode_body(api, version, &respond(version, request))
        })));
    }

    fn script(self, effect: Effect) {
        self.broker.shared().faults.add(Rule {
            effect,
            ..self.rule
        });
    }
}
