//! EventMart: events, topics, services, data generator, scenarios, checks.
