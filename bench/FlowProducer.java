// Sends flow events to Kafka at a fixed rate, open loop: an event's time is when it should have been sent.
// Arguments: brokers topic rate devices alarmEvery label. Reads counts from standard input, one a line; after each
// writes a line of JSON: events sent, seconds, and by how many milliseconds the sender itself fell behind.
// rate 0: as fast as possible. Every alarmEvery-th event (0: none) has port 23 and a device of its own.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class FlowProducer {
  /** A sleep for each event would cost more than the event, on the core that the broker needs: those due together go together. */
  static final long TICK_NANOS = 1_000_000;
  static final StringBuilder text = new StringBuilder(400);

  static byte[] event(long i, String device, int port, double time) {
    text.setLength(0);
    long micros = (long) (time * 1000);
    text.append("{\"id\":\"e").append(1_000_000 + i).append('-').append((i * 2_654_435_761L) & 0xffffffffL)
      .append("\",\"device\":\"").append(device)
      .append("\",\"region\":\"eu-west-1\",\"ts\":").append(micros / 1000).append('.')
      .append((char) ('0' + micros / 100 % 10)).append((char) ('0' + micros / 10 % 10)).append((char) ('0' + micros % 10))
      .append(",\"user\":\"user-").append(i % 5_000)
      .append("\",\"proto\":\"tcp\",\"service\":\"checkout-gateway\",\"port\":").append(port)
      .append(",\"bytesIn\":").append((i * 7_919) % 65_536)
      .append(",\"bytesOut\":").append((i * 104_729) % 65_536)
      .append(",\"packetsIn\":").append(i % 100)
      .append(",\"packetsOut\":").append(i % 77)
      .append(",\"duration\":").append(i % 1_000 / 8).append('.').append(i % 8 * 125)
      .append(",\"failed\":").append(i % 3)
      .append(",\"temp\":").append(20 + i % 100 / 10).append('.').append(i % 10).append('}');
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  static double now() {
    java.time.Instant at = java.time.Instant.now();
    return at.getEpochSecond() * 1e3 + at.getNano() / 1e6;
  }

  public static void main(String[] arguments) throws Exception {
    String topic = arguments[1];
    double rate = Double.parseDouble(arguments[2]);
    long devices = Long.parseLong(arguments[3]);
    long alarmEvery = Long.parseLong(arguments[4]);
    String label = arguments[5];
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments[0]);
    properties.put("key.serializer", ByteArraySerializer.class.getName());
    properties.put("value.serializer", ByteArraySerializer.class.getName());
    properties.put("acks", "all");
    properties.put("linger.ms", rate == 0 ? "20" : "1");
    properties.put("batch.size", rate == 0 ? "262144" : "65536");
    properties.put("buffer.memory", "134217728");
    KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties);
    producer.partitionsFor(topic);
    System.out.println("{\"ready\":true}");
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
    long i = 0;
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      String[] words = line.trim().split(" ");
      long count = Long.parseLong(words[0]);
      double speed = words.length > 1 ? Double.parseDouble(words[1]) : rate;
      double start = now();
      double behind = 0;
      double sending = start;
      for (long n = 0; n < count; n++, i++) {
        double intended = speed == 0 ? now() : start + n * 1e3 / speed;
        if (speed > 0 && intended > sending) {
          for (sending = now(); sending < intended; sending = now())
            LockSupport.parkNanos((long) ((intended - sending) * 1e6) + TICK_NANOS);
          if (sending - intended > behind) behind = sending - intended;
        }
        boolean alarm = alarmEvery > 0 && i % alarmEvery == alarmEvery - 1;
        String device = alarm ? "alarm-" + label + "-" + i : "dev-" + (i * 7_919) % devices;
        producer.send(new ProducerRecord<>(topic, device.getBytes(StandardCharsets.UTF_8),
          event(i, device, alarm ? 23 : 443, intended)));
      }
      double sent = now();
      producer.flush();
      System.out.println("{\"sent\":" + count + ",\"seconds\":" + (sent - start) / 1e3
        + ",\"flushedSeconds\":" + (now() - start) / 1e3 + ",\"behindMillis\":" + behind + "}");
    }
    producer.close();
  }
}
