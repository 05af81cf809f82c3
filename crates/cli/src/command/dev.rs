//! `eventmart dev`: a broker with the seven topics, in memory or in a folder, until Ctrl-C.

use eventmart_core::TOPICS;
use eventmart_core::cluster::BROKER_CONFIGS;
use eventmart_core::error::{Error, ErrorKind, Result};
use eventmart_core::topic::TopicSpec;
use ferrokafka::admin::{CreateOptions, NewTopic};
use ferrokafka::broker::TestBroker;
use ferrokafka::{Admin, ClientConfig, ErrorCode};

use crate::args::DevArgs;
use crate::failure::Exit;
use crate::interrupt::Interrupt;

pub(crate) async fn run(args: DevArgs) -> Result<Exit> {
    let mut interrupt = Interrupt::listen();
    let mut builder = TestBroker::builder().listen(args.listen);
    for (key, value) in BROKER_CONFIGS {
        builder = builder.config(key, value);
    }
    if let Some(folder) = &args.data_dir {
        builder = builder.data_dir(folder);
    }
    let broker = builder.start().await.map_err(|error| {
        let (port, what) = (args.listen.port(), format!("the broker cannot listen on {}", args.listen));
        Error::new(ErrorKind::Machine, what)
            .because(error)
            .fix(format!("pick a free port with --listen 127.0.0.1:0, or see who has it: ss -ltnp 'sport = :{port}'"))
    })?;
    let bootstrap = broker.bootstrap();
    topics(&bootstrap).await?;
    anstream::println!("broker {bootstrap}");
    let kept = args.data_dir.map(|folder| folder.display().to_string());
    anstream::eprintln!("data   {}", kept.as_deref().unwrap_or("in memory"));
    anstream::eprintln!("try    eventmart topic list -b {bootstrap}");
    anstream::eprintln!("       eventmart service product -b {bootstrap}");
    anstream::eprintln!("       eventmart service audit -b {bootstrap}");
    anstream::eprintln!("stop   Ctrl-C");
    interrupt.wait().await;
    interrupt.or_exit(broker.stop()).await;
    Ok(Exit::Interrupted)
}

async fn topics(bootstrap: &str) -> Result<()> {
    let admin = Admin::connect(ClientConfig::new(bootstrap).client_id("eventmart-dev")).await?;
    let mut topics: Vec<NewTopic> = TOPICS
        .iter()
        .map(|spec| {
            let topic = NewTopic::new(spec.name, spec.partitions, TopicSpec::replication_factor(1));
            spec.configs.iter().fold(topic, |topic, config| {
                topic.config(config.name, config.value)
            })
        })
        .collect();
    topics.push(NewTopic::new(eventmart_core::topic::DEAD_LETTERS, 1, 1));
    for (_, result) in admin
        .create_topics(&topics, CreateOptions::default())
        .await?
    {
        match result {
            Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(())
}
