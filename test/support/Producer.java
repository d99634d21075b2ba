// Writes records as the Java client does: `java -cp <jars> Producer.java <brokers> (<topic> <mode> key=value… --)…`.
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Producer {
  static KafkaProducer<byte[], byte[]> open(Properties base, String transactionalId) {
    Properties settings = new Properties();
    settings.putAll(base);
    if (transactionalId != null) settings.put("transactional.id", transactionalId);
    return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  public static void main(String[] args) throws Exception {
    for (int from = 1; from < args.length; ) {
      int to = from;
      while (!args[to].equals("--")) to++;
      write(args[0], args[from], args[from + 1], Arrays.copyOfRange(args, from + 2, to));
      from = to + 1;
    }
  }

  static void write(String brokers, String topic, String mode, String[] given) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", brokers);
    settings.put("linger.ms", "20");
    settings.put("max.request.size", "67108864");
    settings.put("buffer.memory", "134217728");
    for (String setting : given) {
      int equals = setting.indexOf('=');
      settings.put(setting.substring(0, equals), setting.substring(equals + 1));
    }
    switch (mode) {
      case "batch" -> {
        try (KafkaProducer<byte[], byte[]> producer = open(settings, null)) {
          for (int i = 0; i < 5_000; i++) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
              topic, 0, utf8("device-" + i % 7), utf8("{\"n\":" + i + ",\"text\":\"" + "wert ".repeat(i % 40) + "\"}"));
            if (i % 1_000 == 0) record.headers().add("Kind", utf8("marked"));
            producer.send(record);
          }
        }
      }
      case "bomb" -> {
        try (KafkaProducer<byte[], byte[]> producer = open(settings, null)) {
          producer.send(new ProducerRecord<>(topic, 0, null, utf8("before"))).get();
          producer.send(new ProducerRecord<>(topic, 0, null, new byte[16 << 20])).get();
          producer.send(new ProducerRecord<>(topic, 0, null, utf8("after"))).get();
        }
      }
      case "transactions" -> {
        try (KafkaProducer<byte[], byte[]> plain = open(settings, null);
            KafkaProducer<byte[], byte[]> sure = open(settings, "sure")) {
          sure.initTransactions();
          plain.send(new ProducerRecord<>(topic, 0, null, utf8("plain"))).get();
          transaction(sure, topic, "kept", 2, true);
          transaction(sure, topic, "dropped", 2, false);
          plain.send(new ProducerRecord<>(topic, 0, null, utf8("plain again"))).get();
          transaction(sure, topic, "dropped", 1, false);
        }
      }
      default -> throw new IllegalArgumentException(mode);
    }
  }

  static void transaction(KafkaProducer<byte[], byte[]> producer, String topic, String value, int count, boolean keep)
      throws Exception {
    producer.beginTransaction();
    for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(topic, 0, null, utf8(value)));
    producer.flush();
    if (keep) producer.commitTransaction();
    else producer.abortTransaction();
  }
}
