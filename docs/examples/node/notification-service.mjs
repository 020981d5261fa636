// The order example's NotificationService as a participant in Node.js, complete in one file:
// the wire format, the guard in Postgres, and the rule "reply, confirm, then acknowledge".
// Copy it, and replace the part called "the business".
//
// SAGA_AMQP_URL, SAGA_INBOX_URL (postgresql://...), SAGA_NAMESPACE and SAGA_TOPOLOGY as for every
// participant; unless it is to `declare`, it only consumes.

import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import amqp from "amqplib";
import pg from "pg";

const PARTICIPANT = "NotificationService";
const NAMESPACE = process.env.SAGA_NAMESPACE ?? "saga";
const QUEUE = `${NAMESPACE}.commands.${PARTICIPANT}`;
const TOPOLOGY = process.env.SAGA_TOPOLOGY ?? "declare";
const USER = userOf("SAGA_AMQP_URL", ["amqp:", "amqps:"]);
userOf("SAGA_INBOX_URL", ["postgresql:", "postgres:"]);
const PREFETCH = 10;
const TRIES = 3;
const MAX_COMMAND_BYTES = 1_200_000;
const MAX_RESULT_BYTES = 64 * 1024;
const MAX_ERROR_BYTES = 4 * 1024;
const DRAIN_MS = 20_000;
const KEPT_HEADERS = ["saga-type", "saga-direction", "saga-command-id", "saga-attempt", "saga-deadline", "traceparent"];

function userOf(setting, schemes) {
  const given = process.env[setting] ?? "";
  const url = URL.canParse(given) ? new URL(given) : null;
  if (schemes.includes(url?.protocol)) return decodeURIComponent(url.username);
  die(`${setting} is missing or wrong; it begins with ${schemes[0]}//`, 78);
}

// --- the business: commands, what they do in the guard's transaction, and what they answer ---

class StepFailed extends Error {} // the business says no; the same answer for ever
class NotFound extends Error {} // in a compensation: already undone, hence success

const COMMANDS = {
  SendOrderConfirmation: { direction: "action", handle: sendOrderConfirmation },
  SendCancellationNotice: { direction: "compensation", handle: sendCancellationNotice },
};

async function sendOrderConfirmation(command, db) {
  if (command.data.delay?.[command.stepName]) await pause(command.data.delay[command.stepName] * 1000);
  if (command.data.fail_at === command.stepName) throw new StepFailed(`${command.stepName} was asked to fail`);
  if (!command.data.order_id) throw new StepFailed("order_id is missing");
  await write(db, command.sagaId, "confirmation", `Order ${command.data.order_id} is confirmed.`);
  return { confirmation_id: `C-${command.commandId}` };
}

async function sendCancellationNotice(command, db) {
  const failures = command.data.fail_compensation?.[command.stepName] ?? 0;
  if (failures < 0 || command.attempt <= failures) throw new StepFailed("asked to fail");
  const query = "SELECT 1 FROM notifications WHERE saga_id = $1 AND kind = 'confirmation'";
  if ((await db.query(query, [command.sagaId])).rowCount === 0) throw new NotFound("never confirmed");
  await write(db, command.sagaId, "cancellation", `Order ${command.data.order_id} is cancelled.`);
}

async function write(db, sagaId, kind, text) {
  await db.query("INSERT INTO notifications (saga_id, kind, text) VALUES ($1, $2, $3)", [sagaId, kind, text]);
}

// --- the database: the guard's table and the ledger, the same as the Python participants' ---

const TABLES = `
  SELECT pg_advisory_xact_lock(${0x5a6a1b0c});
  CREATE TABLE IF NOT EXISTS saga_inbox (
    saga_id varchar(200) NOT NULL,
    step_name varchar(200) NOT NULL,
    state varchar(20) NOT NULL CONSTRAINT saga_inbox_state CHECK (state IN
      ('done', 'failed', 'unknown', 'later', 'compensating', 'compensated', 'tombstone')),
    action_reply jsonb,
    compensation_reply jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, step_name)
  );
  CREATE INDEX IF NOT EXISTS saga_inbox_updated_at ON saga_inbox (updated_at);
  CREATE TABLE IF NOT EXISTS notifications (
    id bigserial PRIMARY KEY,
    saga_id varchar(200) NOT NULL,
    kind varchar(20) NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
  );
  CREATE INDEX IF NOT EXISTS notifications_saga_id ON notifications (saga_id);
`;

async function inTransaction(pool, work) {
  const db = await pool.connect();
  let broken;
  try {
    await db.query("BEGIN");
    const result = await work(db);
    await db.query("COMMIT");
    return result;
  } catch (error) {
    broken = await db.query("ROLLBACK").then(() => undefined, (lost) => lost);
    throw error;
  } finally {
    db.release(broken); // a connection that could not even roll back is thrown away
  }
}

// The row of this step, locked. null: there was none, and a new one holds the place. The insert
// waits for a concurrent transaction with the same key, so action and compensation never pass.
async function lockedRow(db, { sagaId, stepName }) {
  const insert = `INSERT INTO saga_inbox (saga_id, step_name, state) VALUES ($1, $2, 'tombstone')
                  ON CONFLICT DO NOTHING`;
  if ((await db.query(insert, [sagaId, stepName])).rowCount === 1) return null;
  const select = "SELECT * FROM saga_inbox WHERE saga_id = $1 AND step_name = $2 FOR UPDATE";
  return (await db.query(select, [sagaId, stepName])).rows[0] ?? lockedRow(db, { sagaId, stepName });
}

async function store(db, { sagaId, stepName, direction, epoch }, state, reply) {
  const column = direction === "action" ? "action_reply" : "compensation_reply";
  const update = `UPDATE saga_inbox SET state = $3, ${column} = $4, updated_at = now()
                  WHERE saga_id = $1 AND step_name = $2`;
  await db.query(update, [sagaId, stepName, state, JSON.stringify({ ...reply, epoch })]);
}

// --- the guard: what a command meets in the table decides what happens ---

const UNDONE = { type: "SagaCompensationCompleted" };
const TOO_LATE = {
  type: "SagaStepFailed",
  error: "refused: this action came after its compensation; nothing was done",
  retryable: false,
};

async function execute(pool, command) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await inTransaction(pool, (db) => guarded(db, command));
    } catch (error) {
      if (isAway(error)) throw error; // wait for the database; this says nothing about the step
      if (attempt === TRIES) return unforeseen(command, error);
      await pause(100 + Math.random() * 200 * attempt);
    }
  }
}

async function guarded(db, command) {
  const row = await lockedRow(db, command);
  // The database epoch in which this step was first heard of: see "After a restore" in the guides.
  command.epoch = row?.action_reply?.epoch ?? row?.compensation_reply?.epoch ?? command.epoch;
  if (command.direction === "action") {
    if (["done", "failed"].includes(row?.state)) return row.action_reply;
    if (["compensating", "compensated", "tombstone"].includes(row?.state)) return TOO_LATE;
    return act(db, command);
  }
  if (["done", "unknown", "later"].includes(row?.state)) return compensate(db, command);
  if (["compensated", "tombstone"].includes(row?.state)) return row.compensation_reply;
  await store(db, command, "tombstone", UNDONE); // nothing was done, or it failed without effect
  return UNDONE;
}

async function act(db, command) {
  await db.query("SAVEPOINT handler");
  try {
    const result = (await COMMANDS[command.name].handle(command, db)) ?? {};
    const size = Buffer.byteLength(JSON.stringify(result));
    if (size > MAX_RESULT_BYTES) throw new StepFailed(`the result has ${size} bytes`);
    const reply = { type: "SagaStepCompleted", result };
    await store(db, command, "done", reply);
    return reply;
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error; // undo everything; try again
    await db.query("ROLLBACK TO SAVEPOINT handler");
    const reply = { type: "SagaStepFailed", error: short(error.message) };
    await store(db, command, "failed", reply);
    return reply;
  }
}

async function compensate(db, command) {
  await db.query("SAVEPOINT handler");
  try {
    await COMMANDS[command.name].handle(command, db);
  } catch (error) {
    if (!(error instanceof StepFailed || error instanceof NotFound)) throw error;
    await db.query("ROLLBACK TO SAVEPOINT handler");
    if (error instanceof StepFailed) return { type: "SagaCompensationFailed", error: short(error.message) };
  }
  await store(db, command, "compensated", UNDONE);
  return UNDONE;
}

function unforeseen(command, error) {
  const told = short(`${error.name}: ${error.message}`);
  if (command.direction === "compensation") return { type: "SagaCompensationFailed", error: told };
  return { type: "SagaStepFailed", error: told, retryable: true, effect: "unknown" };
}

function isAway(error) {
  const code = error.code ?? "";
  const isLost = /^(Connection terminated|timeout exceeded when trying to connect)/.test(error.message);
  return isLost || /^(08|53|57P|58|25006|E(?!RR_)[A-Z])/.test(code);
}

function short(text, limit = MAX_ERROR_BYTES) {
  const whole = Buffer.from(text.replaceAll("\0", "\\x00"));
  return whole.length <= limit ? whole.toString() : whole.subarray(0, limit - 2).toString().replace(/\uFFFD$/, "");
}

// --- the wire: what comes in is checked, what cannot be executed goes to the dead letters ---

class Rejected extends Error {
  constructor(reason, detail) {
    super(detail);
    this.reason = reason;
  }
}

function decode({ content, fields, properties }) {
  const headers = properties.headers ?? {};
  if (!/^(application\/json\s*(;.*)?)?$/i.test(properties.contentType ?? "")) {
    throw new Rejected("bad_content_type", `send application/json, not ${properties.contentType}`);
  }
  if (!["", "identity"].includes(properties.contentEncoding ?? "")) {
    throw new Rejected("unsupported_encoding", "send the body as it is");
  }
  const body = parse(content);
  const destination = properties.type || fields.routingKey;
  const name = destination.slice(PARTICIPANT.length + 1);
  const command = {
    name,
    sagaId: body.saga_id,
    stepName: body.step_name,
    direction: headers["saga-direction"],
    attempt: headers["saga-attempt"] ?? 1,
    epoch: headers["saga-database-epoch"],
    asked: headers["saga-database-epoch"],
    commandId: headers["saga-command-id"] ?? `${body.saga_id}|${body.step_name}`,
    data: body,
  };
  if (typeof command.sagaId !== "string" || !/^[A-Za-z0-9._:@-]{1,200}$/.test(command.sagaId)) {
    throw new Rejected("bad_field", "saga_id");
  }
  if (typeof command.stepName !== "string" || !/^[^\0]{1,200}$/.test(command.stepName)) {
    throw new Rejected("bad_field", "step_name");
  }
  if (!Number.isInteger(command.attempt) || command.attempt < 1 || command.attempt > 1_000_000) {
    throw new Rejected("bad_header", "saga-attempt");
  }
  if (typeof command.commandId !== "string" || !/^[^\p{C}]{1,200}$/u.test(command.commandId)) {
    throw new Rejected("bad_header", "saga-command-id");
  }
  if (!["action", "compensation"].includes(command.direction)) {
    throw new Rejected("bad_header", "saga-direction");
  }
  if (!destination.startsWith(`${PARTICIPANT}.`) || !Object.hasOwn(COMMANDS, name)) {
    throw new Rejected("unknown_command", `${PARTICIPANT} has no command ${destination}`);
  }
  if (COMMANDS[name].direction !== command.direction) {
    throw new Rejected("unexpected_direction", `${destination} was sent as ${command.direction}`);
  }
  return command;
}

function parse(content) {
  if (content.length > MAX_COMMAND_BYTES) throw new Rejected("too_large", `${content.length} bytes`);
  let body;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content));
  } catch (error) {
    throw new Rejected("bad_json", error.message);
  }
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new Rejected("not_an_object", "send a JSON object");
  }
  return body;
}

function replyMessage(command, { type, epoch = command.epoch, ...said }, headers = {}) {
  const echoed = { "saga-command-id": command.commandId, "saga-attempt": command.attempt };
  // That of the step, and that of this command if it is another one.
  const epochs = [...new Set([epoch, command.asked])].filter(Boolean).join(" ");
  if (epochs) echoed["saga-database-epoch"] = epochs;
  if (typeof headers.traceparent === "string") echoed.traceparent = headers.traceparent;
  return {
    exchange: `${NAMESPACE}.replies`,
    routingKey: type,
    content: Buffer.from(JSON.stringify({ saga_id: command.sagaId, step_name: command.stepName, ...said })),
    properties: { type, correlationId: command.sagaId, headers: echoed },
  };
}

// Of the headers only those that are ours and plain: nobody's copies, tables or long texts.
function rejection({ content, fields, properties }, error) {
  const headers = {
    "saga-reason": error.reason,
    "saga-error": short(error.message),
    "saga-original-message-id": short(properties.messageId ?? "", 255),
  };
  if (content.length > MAX_COMMAND_BYTES) headers["saga-body-size"] = content.length; // its beginning is kept
  for (const name of KEPT_HEADERS) {
    const value = properties.headers?.[name];
    if (Number.isSafeInteger(value) || (typeof value === "string" && value.length <= 255)) headers[name] = value;
  }
  return {
    exchange: `${NAMESPACE}.dead`,
    routingKey: `rejected.${QUEUE}`,
    content: content.length > MAX_COMMAND_BYTES ? content.subarray(0, MAX_RESULT_BYTES) : content,
    properties: {
      type: short(properties.type || fields.routingKey, 255),
      correlationId: short(properties.correlationId ?? "", 255) || undefined,
      headers,
    },
  };
}

// --- the program: reply, confirm, acknowledge; any lost connection ends it, and it is restarted ---

class Publisher {
  #returned = new Set();

  constructor(channel) {
    this.channel = channel;
    channel.on("return", ({ properties }) => this.#returned.add(properties.messageId));
  }

  // Resolves once a queue has the message for sure; until then it is published again and again.
  async publish(message) {
    for (let tries = 0; !(await this.#once(message)); tries += 1) {
      console.error(`not taken yet: ${message.routingKey}; published again`);
      await pause(Math.min(200 * 2 ** tries, 30_000) * (0.5 + Math.random() / 2));
    }
  }

  #once({ exchange, routingKey, content, properties }) {
    const messageId = randomUUID(); // unique for every attempt
    const options = {
      ...properties,
      messageId,
      appId: PARTICIPANT,
      userId: USER || undefined, // the broker validates it
      contentType: "application/json",
      deliveryMode: 2,
      mandatory: true,
      timestamp: Math.floor(Date.now() / 1000),
    };
    return new Promise((resolve) => {
      this.channel.publish(exchange, routingKey, content, options, (refused) => {
        resolve(!refused && !this.#returned.delete(messageId)); // a return comes before its confirm
      });
    });
  }
}

async function answerTo(pool, message) {
  try {
    const command = decode(message);
    return replyMessage(command, await patiently(() => execute(pool, command)), message.properties.headers);
  } catch (error) {
    if (error instanceof Rejected) return rejection(message, error);
    throw error;
  }
}

// Holds the delivery while the database is away: no reply, no nack.
async function patiently(work) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isAway(error)) throw error;
      console.error(`the database is away: ${error.message}`);
      await pause(Math.min(200 * 2 ** tries, 30_000) * (0.5 + Math.random() / 2));
    }
  }
}

async function declare(channel) {
  await channel.assertExchange(`${NAMESPACE}.commands`, "topic", { durable: true });
  await channel.assertExchange(`${NAMESPACE}.replies`, "direct", { durable: true });
  await channel.assertExchange(`${NAMESPACE}.dead`, "topic", { durable: true });
  await channel.assertQueue(QUEUE, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 20,
      "x-dead-letter-exchange": `${NAMESPACE}.dead`,
      "x-dead-letter-routing-key": QUEUE,
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    },
  });
  await channel.bindQueue(QUEUE, `${NAMESPACE}.commands`, `${PARTICIPANT}.*`);
}

function die(why, code = 69) {
  console.error(`${PARTICIPANT} ends: ${why}`);
  process.exit(code);
}

const pool = new pg.Pool({ connectionString: process.env.SAGA_INBOX_URL, max: PREFETCH, connectionTimeoutMillis: 5000 });
pool.on("error", (error) => console.error(`an idle connection was lost: ${error.message}`));
await patiently(() => inTransaction(pool, (db) => db.query(TABLES)));

const connection = await amqp
  .connect(process.env.SAGA_AMQP_URL, { heartbeat: 10, timeout: 10_000 })
  .catch((error) => die(`no connection to the broker: ${error.message || error.code}`));
let isStopping = false;
connection.on("error", (error) => console.error(`broker: ${error.message}`));
connection.on("close", () => isStopping || die("the connection to the broker was lost"));
const channel = await connection.createConfirmChannel();
channel.on("error", (error) => die(error.message));
if (TOPOLOGY === "declare") await declare(channel);
await channel.prefetch(PREFETCH);

const publisher = new Publisher(channel);
const underWay = new Set();
const { consumerTag } = await channel.consume(QUEUE, (message) => {
  if (message === null) return die("the broker cancelled the consumer");
  const work = answerTo(pool, message)
    .then((answer) => publisher.publish(answer))
    .then(() => channel.ack(message))
    .catch((error) => die(error.stack))
    .finally(() => underWay.delete(work));
  underWay.add(work);
});
console.error(`${PARTICIPANT} consumes ${QUEUE}`);

async function stop() {
  if (isStopping) process.exit(1);
  isStopping = true;
  setTimeout(() => die("it has not drained in time", 1), DRAIN_MS).unref();
  await channel.cancel(consumerTag);
  await Promise.all(underWay);
  await connection.close();
  await pool.end();
}
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
