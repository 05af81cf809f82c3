// Writes the golden record batches beside this file with Apache Kafka's own client library.
//
//   java -cp 'kafka-clients-4.3.0.jar:slf4j-api.jar:lz4-java.jar:snappy-java.jar:zstd-jni.jar' Capture.java OUTPUT_FOLDER
//
// Per case NAME.bin holds the bytes; expected.json says what Kafka reads in them; murmur2.json holds hashes,
// errors.tsv the error codes.
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.Utils;

public class Capture {
    static final long T = 1_700_000_000_000L;
    static Path out;
    static final List<String> cases = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        out = Path.of(args[0]);
        save("plain", plain(Compression.NONE, 3));
        save("gzip", plain(Compression.gzip().build(), 40));
        save("snappy", plain(Compression.snappy().build(), 40));
        save("lz4", plain(Compression.lz4().build(), 40));
        save("zstd", plain(Compression.zstd().build(), 40));
        save("snappy_blocks", large(Compression.snappy().build()));
        save("lz4_blocks", large(Compression.lz4().build()));
        save("nulls", nulls());
        save("headers", headers());
        save("idempotent", producer(false));
        save("transactional", producer(true));
        save("commit_marker", marker(ControlRecordType.COMMIT));
        save("abort_marker", marker(ControlRecordType.ABORT));
        save("log_append_time", appendTime());
        save("compacted", compacted());
        save("empty_compacted", emptyCompacted());
        save("two_batches", twoBatches());
        Files.writeString(out.resolve("expected.json"), "[\n" + String.join(",\n", cases) + "\n]\n");
        murmur();
        errors();
    }

    static MemoryRecordsBuilder builder(Compression c) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, c,
            TimestampType.CREATE_TIME, 0L);
    }

    static MemoryRecords plain(Compression c, int n) {
        MemoryRecordsBuilder b = builder(c);
        for (int i = 0; i < n; i++) b.append(T + i * 7L, bytes("key-" + i), bytes("value number " + i));
        return b.build();
    }

    static MemoryRecords large(Compression c) {
        MemoryRecordsBuilder b = builder(c);
        StringBuilder s = new StringBuilder();
        for (int i = 0; i < 30_000; i++) s.append((char) ('a' + (i * i + i / 7) % 26));
        for (int i = 0; i < 6; i++) b.append(T, bytes("k" + i), bytes(i + s.toString()));
        return b.build();
    }

    static MemoryRecords nulls() {
        MemoryRecordsBuilder b = builder(Compression.NONE);
        b.append(T, (byte[]) null, bytes("no key"));
        b.append(T - 5, bytes("tombstone"), (byte[]) null);
        b.append(T + 5, new byte[0], new byte[0]);
        b.append(T, (byte[]) null, (byte[]) null);
        return b.build();
    }

    static MemoryRecords headers() {
        MemoryRecordsBuilder b = builder(Compression.NONE);
        b.append(T, bytes("k"), bytes("v"), new Header[] {
            new RecordHeader("a", bytes("1")), new RecordHeader("a", bytes("2")), new RecordHeader("null", null),
            new RecordHeader("", new byte[0]), new RecordHeader("größe", bytes("ü")) });
        b.append(T, bytes("k"), bytes("v"));
        return b.build();
    }

    static MemoryRecords producer(boolean transactional) {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(4096), RecordBatch.MAGIC_VALUE_V2,
            Compression.NONE, TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP, 1001L, (short) 3, 7,
            transactional, 5);
        b.append(T, bytes("a"), bytes("1"));
        b.append(T, bytes("b"), bytes("2"));
        return b.build();
    }

    static MemoryRecords marker(ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(42L, T, 5, 1001L, (short) 3,
            new EndTransactionMarker(type, 9));
    }

    static MemoryRecords appendTime() {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(4096), RecordBatch.MAGIC_VALUE_V2,
            Compression.NONE, TimestampType.LOG_APPEND_TIME, 100L, T + 999);
        b.append(T, bytes("a"), bytes("1"));
        b.append(T + 1, bytes("b"), bytes("2"));
        return b.build();
    }

    // What log compaction leaves: records 0, 3 and 5 of 0..7 are kept, the batch still ends at 7.
    static MemoryRecords compacted() {
        MemoryRecordsBuilder b = builder(Compression.NONE);
        for (int i = 0; i < 8; i++) b.append(T + i, bytes("k" + i), bytes("v" + i));
        MemoryRecords.RecordFilter keep = new MemoryRecords.RecordFilter(0, 0) {
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }
            protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.internal.Record record) {
                return record.offset() == 0 || record.offset() == 3 || record.offset() == 5;
            }
        };
        ByteBuffer to = ByteBuffer.allocate(4096);
        b.build().filterTo(keep, to, BufferSupplier.NO_CACHING);
        to.flip();
        return MemoryRecords.readableRecords(to);
    }

    static MemoryRecords emptyCompacted() {
        ByteBuffer to = ByteBuffer.allocate(61);
        DefaultRecordBatch.writeEmptyHeader(to, (byte) 2, 1001L, (short) 3, 7, 50L, 59L, 4,
            TimestampType.CREATE_TIME, T, false, false);
        to.flip();
        return MemoryRecords.readableRecords(to);
    }

    static MemoryRecords twoBatches() {
        ByteBuffer to = ByteBuffer.allocate(4096);
        for (long base : new long[] {10, 20}) {
            MemoryRecordsBuilder b = new MemoryRecordsBuilder(to, (byte) 2, Compression.NONE, TimestampType.CREATE_TIME,
                base, RecordBatch.NO_TIMESTAMP, -1L, (short) -1, -1, false, false, 2, to.capacity());
            b.append(T + base, bytes("k"), bytes("base " + base));
            b.close();
            to = b.buffer();
        }
        to.flip();
        return MemoryRecords.readableRecords(to);
    }

    static void save(String name, MemoryRecords records) throws Exception {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        Files.write(out.resolve(name + ".bin"), bytes);
        List<String> batches = new ArrayList<>();
        for (RecordBatch batch : records.batches()) {
            List<String> rows = new ArrayList<>();
            for (org.apache.kafka.common.record.internal.Record r : batch) {
                List<String> headers = new ArrayList<>();
                for (Header h : r.headers()) headers.add("[\"" + h.key() + "\", " + hex(h.value()) + "]");
                rows.add(String.format("      {\"offset\": %d, \"timestamp\": %d, \"key\": %s, \"value\": %s, \"headers\": [%s]}",
                    r.offset(), r.timestamp(), hex(r.hasKey() ? Utils.toArray(r.key()) : null),
                    hex(r.hasValue() ? Utils.toArray(r.value()) : null), String.join(", ", headers)));
            }
            batches.add(String.format("    {\"base_offset\": %d, \"last_offset\": %d, \"leader_epoch\": %d, "
                + "\"compression\": \"%s\", \"timestamp_type\": \"%s\", \"max_timestamp\": %d, \"producer_id\": %d, "
                + "\"producer_epoch\": %d, \"base_sequence\": %d, \"transactional\": %b, \"control\": %b, \"records\": [%s]}",
                batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(), batch.compressionType().name,
                batch.timestampType().name, batch.maxTimestamp(), batch.producerId(), batch.producerEpoch(),
                batch.baseSequence(), batch.isTransactional(), batch.isControlBatch(),
                rows.isEmpty() ? "" : "\n" + String.join(",\n", rows) + "\n    "));
        }
        cases.add("  {\"name\": \"" + name + "\", \"batches\": [\n" + String.join(",\n", batches) + "\n  ]}");
    }

    static void murmur() throws Exception {
        List<String> rows = new ArrayList<>();
        List<byte[]> keys = new ArrayList<>();
        for (String s : List.of("", "a", "ab", "abc", "abcd", "21", "foobar", "a-little-bit-long-string",
            "a-little-bit-longer-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", "user-42", "laptop-pro-15", "größe"))
            keys.add(bytes(s));
        java.util.Random random = new java.util.Random(42);
        for (int i = 0; i < 40; i++) {
            byte[] key = new byte[i];
            random.nextBytes(key);
            keys.add(key);
        }
        for (byte[] key : keys)
            rows.add(String.format("  {\"key\": %s, \"murmur2\": %d, \"of_10\": %d, \"of_3\": %d}", hex(key),
                Utils.murmur2(key), BuiltInPartitioner.partitionForKey(key, 10), BuiltInPartitioner.partitionForKey(key, 3)));
        Files.writeString(out.resolve("murmur2.json"), "[\n" + String.join(",\n", rows) + "\n]\n");
    }

    /** Code, name and what Java's client makes of it: refresh the metadata and retry, retry, or neither. */
    static void errors() throws Exception {
        List<String> rows = new ArrayList<>();
        for (Errors e : Errors.values())
            rows.add(e.code() + "\t" + e.name() + "\t" + (e.exception() instanceof InvalidMetadataException ? "refresh"
                : e.exception() instanceof RetriableException ? "retry" : "-"));
        Files.writeString(out.resolve("errors.tsv"), String.join("\n", rows) + "\n");
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "null" : "\"" + HexFormat.of().formatHex(bytes) + "\"";
    }
}
