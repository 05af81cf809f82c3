//! The command line: nouns, verbs and flags. One way to say a thing; aliases of Kafka's tools are understood.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// EventMart: an e-commerce platform on Kafka, for learning. Its brokers, services and demos in one program.
#[derive(Debug, Parser)]
#[command(
    name = "eventmart",
    version,
    max_term_width = 80,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 a checked fact did not hold, \
                        5 timeout, 6 not allowed, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// No colours, whatever the terminal can do. NO_COLOR in the environment says the same.
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Say more on stderr; twice for every request.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a day of the course: every figure is measured, every sentence checked.
    Demo(DemoArgs),
    /// Run one service alone until Ctrl-C.
    Service(ServiceArgs),
    /// Run a broker until Ctrl-C, with the seven topics, and say what to try.
    Dev(DevArgs),
    /// Topics of a cluster.
    #[command(subcommand, alias = "topics")]
    Topic(TopicCommand),
    /// Consumer groups of a cluster.
    #[command(subcommand, alias = "groups")]
    Group(GroupCommand),
    /// What is there on this machine: ports, Java, Maven, versions.
    Doctor(DoctorArgs),
}

/// Where the brokers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BrokerChoice {
    /// A broker inside this process.
    Embedded,
    /// Apache Kafka, started for this run.
    Apache,
    /// Brokers that are already there.
    At(String),
}

impl FromStr for BrokerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "apache" => Ok(Self::Apache),
            _ if addresses_are_sound(text) => Ok(Self::At(text.to_owned())),
            _ => {
                let near = ["embedded", "apache"]
                    .into_iter()
                    .find(|word| strsim::jaro_winkler(text, word) > 0.8);
                let hint = near
                    .map(|word| format!("; did you mean '{word}'?"))
                    .unwrap_or_default();
                Err(format!(
                    "expected 'embedded', 'apache' or HOST:PORT[,HOST:PORT…]{hint}"
                ))
            }
        }
    }
}

impl fmt::Display for BrokerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Apache => f.write_str("apache"),
            Self::At(addresses) => f.write_str(addresses),
        }
    }
}

fn addresses_are_sound(text: &str) -> bool {
    !text.is_empty()
        && text.split(',').all(|address| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
        })
}

fn bootstrap(text: &str) -> Result<String, String> {
    if addresses_are_sound(text) {
        Ok(text.to_owned())
    } else {
        Err("expected HOST:PORT[,HOST:PORT…]".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which day.
    #[arg(value_enum)]
    pub(crate) day: Day,
    /// The cluster to play on: embedded, apache, or HOST:PORT.
    #[arg(short, long, default_value = "embedded", aliases = ["brokers", "bootstrap-server", "bootstrap"])]
    pub(crate) broker: BrokerChoice,
    /// No pauses for the reader; our own waits shortened. Timers of the broker stay as they are.
    #[arg(long)]
    pub(crate) fast: bool,
    /// One JSON object a line on stdout; the last is the summary.
    #[arg(long)]
    pub(crate) json: bool,
    /// Everything invented comes from it: same seed, same story.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Leave the brokers running at the end, until Ctrl-C; on HOST:PORT, leave topics and groups there.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Allow a broker that is not on this machine.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The days that can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Day {
    /// Topics: created, described, explained; keys, retention and compaction at work.
    Day1,
    /// Producers: four services, order kept, faults survived.
    Day3,
    /// Consumers: groups, rebalancing, redelivery, dead letters.
    Day4,
}

/// Where the brokers are, for commands about a cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Addresses of the cluster.
    #[arg(
        short,
        long,
        env = "EVENTMART_BROKER",
        default_value = "127.0.0.1:9092",
        value_parser = bootstrap,
        value_name = "HOST:PORT",
        aliases = ["brokers", "bootstrap-server", "bootstrap"]
    )]
    pub(crate) broker: String,
}

/// How lists are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// One JSON object a line: the same as -o jsonl.
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
}

/// Forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For reading.
    Table,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Names only.
    Name,
}

impl OutputArgs {
    pub(crate) fn form(self) -> Output {
        if self.json {
            Output::Jsonl
        } else {
            self.output
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Which service.
    #[arg(value_enum)]
    pub(crate) name: ServiceName,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Encoding of the events.
    #[arg(long, value_enum, default_value = "json")]
    pub(crate) format: Format,
    /// Everything invented comes from it: give all services of a platform the same.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Events a second that a writing service sends; 0 as fast as it can.
    #[arg(long, default_value_t = 10)]
    pub(crate) rate: u32,
    /// One JSON object a line on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceName {
    /// Registers customers and changes their profiles.
    User,
    /// Creates the catalogue.
    Product,
    /// Takes orders; confirms or cancels them by their payment.
    Order,
    /// Charges each placed order.
    Payment,
    /// Writes to customers about what concerns them.
    Notification,
    /// Counts: orders, revenue, page views.
    Analytics,
    /// Records who did what.
    Audit,
    /// Takes ordered pieces from stock and puts cancelled ones back.
    Inventory,
}

/// Encodings of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a record.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where the broker listens; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub(crate) listen: SocketAddr,
    /// Keep the data in this folder; without it, in memory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// All topics.
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        output: OutputArgs,
        /// Topics that the brokers keep for themselves, too.
        #[arg(long)]
        internal: bool,
    },
    /// Partitions, leaders and configs of topics.
    Describe {
        /// Which topics.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Create a topic.
    Create {
        /// Its name; `eventmart` creates the seven of the platform.
        #[arg(value_name = "NAME")]
        name: String,
        /// Number of partitions.
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: i32,
        /// Copies of each partition.
        #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: i16,
        /// A config by Kafka's name; may be given several times.
        #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// All consumer groups.
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Members of groups and what each is assigned.
    Describe {
        /// Which groups.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// How far groups are behind, by partition.
    Lag {
        /// Which groups; all of them if none is named.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn brokers_are_named_or_addressed() {
        assert_eq!("embedded".parse(), Ok(BrokerChoice::Embedded));
        assert_eq!("apache".parse(), Ok(BrokerChoice::Apache));
        assert_eq!(
            "a:1,b:2".parse(),
            Ok(BrokerChoice::At("a:1,b:2".to_owned()))
        );
        assert!(
            "embeded"
                .parse::<BrokerChoice>()
                .unwrap_err()
                .contains("did you mean 'embedded'")
        );
        for wrong in [
            "",
            "localhost",
            "localhost:",
            ":9092",
            "localhost:99999",
            "a:1,,b:2",
            "a:0",
        ] {
            assert!(wrong.parse::<BrokerChoice>().is_err(), "{wrong:?}");
        }
    }
}
