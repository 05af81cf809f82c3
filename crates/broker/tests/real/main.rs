//! The same questions to the embedded broker and to Apache Kafka: the answers must be the same.

#[path = "../it/driver.rs"]
mod driver;
#[path = "../it/group_member.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of the embedded broker, which use all of it"
)]
mod group_member;
mod groups;
