//! A service with its group, as the demos start it.

use std::sync::Arc;

use crate::demo::ground::Ground;
use crate::demo::watch::Watch;
use crate::error::Result;
use crate::platform::Service;
use crate::service::{Figures, Handler, Member, Publisher, Stop, Watching, handler_of};

/// A service with its group.
pub(super) struct Group {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) publisher: Publisher,
    pub(super) watch: Arc<Watch>,
    pub(super) members: Vec<Member>,
}

impl Group {
    /// Starts the service with one member, `<service>-1`, and waits until that has all partitions.
    pub(super) async fn start(
        ground: &Ground<'_>,
        service: Service,
        figures: &Arc<Figures>,
    ) -> Result<Self> {
        let handler = match service {
            Service::Analytics => Some(Arc::clone(figures) as Arc<dyn Handler>),
            other => handler_of(other, ground.reactions, Arc::clone(&ground.gateway)),
        };
        let handler = handler.unwrap_or_else(|| Arc::new(Watching(service)));
        let publisher = ground.publisher(service).await?;
        let watch = Watch::new();
        let name = format!("{}-1", service.slug());
        let config = ground.member_config(service, &name);
        let member = ground.member(config, &handler, &publisher, &watch).await?;
        let partitions = Ground::partitions_read_by(service);
        watch
            .wait(&format!("{name} gets its partitions"), |seen| {
                seen.is_shared_by(&[&name], partitions).then_some(())
            })
            .await?;
        Ok(Self {
            handler,
            publisher,
            watch,
            members: vec![member],
        })
    }

    /// Ends members first, then what they write with.
    pub(super) async fn stop(self) -> Result<()> {
        for member in self.members {
            member.stop(Stop::Leave).await?;
        }
        self.publisher.close().await
    }
}
