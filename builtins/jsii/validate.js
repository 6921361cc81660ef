// Runs the CDK's template rules over the files named on stdin, one JSON array, and writes one JSON array of findings.
// Started as: node validate.js '{"dir": folder with node_modules}'
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const Module = require('module');

try {
  os.setPriority(10); // somebody may be waiting for something else
} catch {
  // then not
}
const { dir } = JSON.parse(process.argv[2]);
if (Module.enableCompileCache) Module.enableCompileCache(path.join(dir, '.compile-cache'));
for (const f of ['log', 'info', 'debug']) console[f] = console.error;

const { CloudFormationValidatePlugin } = Module.createRequire(path.join(dir, 'node_modules', 'index.js'))('aws-cdk-lib');
const plugin = new CloudFormationValidatePlugin();

// The plugin knows which rules to leave out, but puts the findings of a rule together under the first message. So it
// asks the engine, and we take the engine's answer.
let found = [];
const validate = plugin.engine.validateDetailed.bind(plugin.engine);
plugin.engine.validateDetailed = (...args) => {
  const report = validate(...args);
  found = report.diagnostics;
  return report;
};

const findings = [];
for (const template of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  found = [];
  plugin.validate({ stackTemplates: [{ templatePath: template, stackConstructPath: '' }] });
  for (const d of found) {
    findings.push({
      template,
      rule: d.ruleId,
      severity: d.severity,
      logicalId: d.entity?.entityType === 'Resource' ? d.entity.logicalId : '',
      path: d.propertyPath ?? '',
      message: d.message,
      fix: d.suggestedFix ?? '',
    });
  }
}
fs.writeSync(1, JSON.stringify(findings) + '\n');
