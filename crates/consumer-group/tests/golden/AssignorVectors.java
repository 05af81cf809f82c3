// Writes assignors.txt: what the assignors of Apache Kafka's Java client answer to seeded inputs.
// Run with kafka-clients (4.3.0 was used) and slf4j-api on the class path: java -cp ... AssignorVectors.java > assignors.txt
//
// One case: `case NAME`, `topic NAME PARTITIONS`, `member ID INSTANCE|- GENERATION topics=a,b owned=a-0,b-1`,
// `range ID a-0,b-1` (round-robin, sticky likewise; sticky is the cooperative one), `end`.
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.AbstractPartitionAssignor;
import org.apache.kafka.common.TopicPartition;

public class AssignorVectors {
    record Member(String id, String instance, List<String> topics) {}

    public static void main(String[] args) {
        for (int seed = 0; seed < 45; seed++) chain(seed);
    }

    static void chain(int seed) {
        Random random = new Random(seed);
        boolean equal = seed % 3 != 2;
        Map<String, Integer> topics = new TreeMap<>();
        int topicCount = 1 + random.nextInt(4);
        for (int t = 0; t < topicCount; t++) topics.put("topic" + t, 1 + random.nextInt(10));
        List<Member> members = new ArrayList<>();
        int next = 0;
        int start = 1 + random.nextInt(4);
        for (int m = 0; m < start; m++) members.add(member(next++, topics, equal, random));
        Map<String, List<TopicPartition>> owned = new HashMap<>();
        Map<String, Integer> generations = new HashMap<>();
        for (int round = 1; round <= 6; round++) {
            Map<String, Subscription> subscriptions = new HashMap<>();
            // As in a real group: only topics that somebody reads.
            Set<String> read = new HashSet<>();
            for (Member m : members) read.addAll(m.topics);
            topics.keySet().retainAll(read);
            System.out.println("case seed" + seed + "-round" + round);
            topics.forEach((name, count) -> System.out.println("topic " + name + " " + count));
            for (Member m : members) {
                List<TopicPartition> mine = owned.getOrDefault(m.id, List.of());
                int generation = generations.getOrDefault(m.id, -1);
                Subscription s = new Subscription(m.topics, null, mine, generation, Optional.empty());
                if (m.instance != null) s.setGroupInstanceId(Optional.of(m.instance));
                subscriptions.put(m.id, s);
                System.out.println("member " + m.id + " " + (m.instance == null ? "-" : m.instance) + " " + generation
                    + " topics=" + String.join(",", m.topics) + " owned=" + join(mine));
            }
            print("range", new RangeAssignor(), topics, subscriptions);
            print("round-robin", new RoundRobinAssignor(), topics, subscriptions);
            Map<String, List<TopicPartition>> sticky = print("sticky", new CooperativeStickyAssignor(), topics, subscriptions);
            System.out.println("end");
            for (Member m : members) {
                owned.put(m.id, sticky.get(m.id));
                // Now and then a member misses a generation.
                if (random.nextInt(12) != 0) generations.put(m.id, round);
            }
            int what = random.nextInt(4);
            if (what == 0 && members.size() > 1) members.remove(random.nextInt(members.size()));
            else if (what == 1) members.add(member(next++, topics, equal, random));
            else if (what == 2 && round % 2 == 0) topics.computeIfPresent("topic0", (k, v) -> v + 2);
        }
    }

    static Member member(int n, Map<String, Integer> topics, boolean equal, Random random) {
        String id = "consumer-" + Integer.toHexString(random.nextInt()) + "-" + n;
        String instance = random.nextInt(5) == 0 ? "instance-" + random.nextInt(100) + "-" + n : null;
        List<String> mine = new ArrayList<>();
        for (String t : topics.keySet()) if (equal || random.nextInt(3) != 0) mine.add(t);
        if (mine.isEmpty()) mine.add(topics.keySet().iterator().next());
        return new Member(id, instance, mine);
    }

    static Map<String, List<TopicPartition>> print(String name, AbstractPartitionAssignor assignor,
            Map<String, Integer> topics, Map<String, Subscription> subscriptions) {
        Map<String, List<TopicPartition>> out = assignor.assign(new HashMap<>(topics), subscriptions);
        new TreeMap<>(out).forEach((id, parts) -> System.out.println(name + " " + id + " " + join(parts)));
        return out;
    }

    static String join(List<TopicPartition> parts) {
        List<TopicPartition> sorted = new ArrayList<>(parts);
        sorted.sort(Comparator.comparing(TopicPartition::topic).thenComparing(TopicPartition::partition));
        StringBuilder b = new StringBuilder();
        for (TopicPartition p : sorted) b.append(b.length() == 0 ? "" : ",").append(p.topic()).append('-').append(p.partition());
        return b.toString();
    }
}
