//! The admin client against Apache Kafka.

#[cfg(test)]
#[path = "../it/journey.rs"]
mod journey;

#[cfg(test)]
mod apache {
    use ferrokafka_admin::Admin;
    use ferrokafka_broker::apache::ApacheKafka;
    use ferrokafka_client::ClientConfig;

    use crate::journey::journey;

    #[tokio::test]
    async fn admin_does_all_it_can_on_apache_kafka() {
        let kafka = ApacheKafka::builder().nodes(1).start().await.unwrap();
        let admin = Admin::connect(ClientConfig::new(kafka.bootstrap()))
            .await
            .unwrap();
        journey(&admin).await;
        kafka.stop().await;
    }
}
