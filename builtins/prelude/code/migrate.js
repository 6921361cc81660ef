// Brings the database of an sst.RDS up to date at a deployment: runs the .sql files of a layer, each once, in the order of their names.
const { readdirSync, readFileSync } = require('fs');
const { RDSDataClient, ExecuteStatementCommand, BeginTransactionCommand, CommitTransactionCommand, RollbackTransactionCommand } = require('@aws-sdk/client-rds-data');

const client = new RDSDataClient({});
const where = { resourceArn: process.env.CLUSTER, secretArn: process.env.SECRET };
const database = process.env.DATABASE;
const folder = process.env.FOLDER || '/opt';
const mysql = process.env.ENGINE === 'mysql';

exports.handler = async ({ RequestType, PhysicalResourceId, LogicalResourceId, StackId, RequestId, ResponseURL }) => {
  const answer = { Status: 'SUCCESS', StackId, RequestId, LogicalResourceId, PhysicalResourceId: PhysicalResourceId || LogicalResourceId };
  try {
    if (RequestType !== 'Delete') await migrate();
  } catch (e) {
    answer.Status = 'FAILED';
    answer.Reason = String(e.message || e).slice(0, 1000);
  }
  await fetch(ResponseURL, { method: 'PUT', body: JSON.stringify(answer), headers: { 'content-type': '' } });
};

async function migrate() {
  await run('create table if not exists sst_migrations (name varchar(255) primary key, applied timestamp default current_timestamp)');
  const { records = [] } = await run('select name from sst_migrations');
  const known = new Set(records.map(([name]) => name.stringValue));
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith('.sql') || known.has(name)) continue;
    console.log(name);
    const { transactionId } = await send(BeginTransactionCommand, { database });
    try {
      for (const sql of statements(readFileSync(`${folder}/${name}`, 'utf8'))) await run(sql, { transactionId });
      await run('insert into sst_migrations (name) values (:name)', { transactionId, parameters: [{ name: 'name', value: { stringValue: name } }] });
      await send(CommitTransactionCommand, { transactionId });
    } catch (e) {
      await send(RollbackTransactionCommand, { transactionId }).catch(() => {});
      throw new Error(`${name}: ${e.message}`);
    }
  }
}

const run = (sql, more) => send(ExecuteStatementCommand, { database, sql, continueAfterTimeout: true, ...more });

async function send(Command, input) {
  for (let i = 0; ; i++) {
    try {
      return await client.send(new Command({ ...where, ...input }));
    } catch (e) {
      // It sleeps while nobody asks, and wakes up within half a minute.
      if (e.name !== 'DatabaseResumingException' || i === 24) throw e;
      await new Promise((r) => setTimeout(r, 5000));
    }
  }
}

// The Data API takes one statement at a time. What may hold a semicolon of its own is skipped: texts, names, comments, bodies in dollars.
function statements(sql) {
  const text = mysql ? /'(?:[^'\\]|\\[^]|'')*'|"(?:[^"\\]|\\[^]|"")*"|`[^`]*`/ : /'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$)[^]*?\1/;
  const comment = mysql ? /--[^\n]*|#[^\n]*|\/\*[^]*?\*\// : /--[^\n]*|\/\*[^]*?\*\//;
  const found = [''];
  let at = 0;
  for (const m of sql.matchAll(new RegExp(`${text.source}|${comment.source}|;`, 'g'))) {
    found[found.length - 1] += sql.slice(at, m.index);
    at = m.index + m[0].length;
    if (m[0] === ';') found.push('');
    else found[found.length - 1] += m[0].match(new RegExp(`^(?:${comment.source})`)) ? ' ' : m[0];
  }
  found[found.length - 1] += sql.slice(at);
  return found.map((s) => s.trim()).filter(Boolean);
}
