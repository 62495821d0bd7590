#!/usr/bin/env node
// Compiles every contract in this folder to <Name>.json beside it, so that running Pennypress takes
// no compiler. With --check it writes nothing, and exits 1 naming each file that is not what its
// source compiles to.
//
//   npm ci --ignore-scripts && node payments/onchain/contracts/compile.js [--check]
'use strict';

const fs = require('node:fs');
const path = require('node:path');

// What the artefacts depend on, besides the source and the compiler's version (which each source
// pins): changing one of these changes the code on chain.
const SETTINGS = {
  // Called far more often than deployed, so calls are what is made cheap.
  optimizer: { enabled: true, runs: 10000 },
  // The pipeline by way of Yul: the older one runs out of stack slots in BatchSettlement.
  viaIR: true,
  // Base has had Cancun since Ecotone (March 2024), and anvil starts with a later one.
  evmVersion: 'cancun',
  // No hash of the source in the code: a changed comment does not change the code, and the same
  // source gives the same bytes anywhere.
  metadata: { bytecodeHash: 'none' },
};

function loadCompiler() {
  try {
    return require('solc');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    console.error('solc is not installed; run: npm ci --ignore-scripts');
    process.exit(2);
  }
}

function compile(solc) {
  const sources = {};
  for (const file of fs.readdirSync(__dirname).sort()) {
    if (file.endsWith('.sol')) {
      sources[file] = { content: fs.readFileSync(path.join(__dirname, file), 'utf8') };
    }
  }
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: 'Solidity',
        sources,
        settings: {
          ...SETTINGS,
          outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
        },
      }),
    ),
  );
  // A warning counts as a failure: there are none now, and a new one should be looked at.
  const problems = output.errors || [];
  if (problems.length) {
    for (const problem of problems) console.error(problem.formattedMessage);
    process.exit(1);
  }
  const artefacts = {};
  for (const file of Object.keys(sources)) {
    const name = path.basename(file, '.sol');
    const contract = output.contracts[file][name];
    if (!contract) {
      console.error(`${file} has no contract named ${name}`);
      process.exit(1);
    }
    artefacts[`${name}.json`] =
      JSON.stringify(
        {
          abi: contract.abi,
          bytecode: `0x${contract.evm.bytecode.object}`,
          deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
          compiler: `solc ${solc.version()}`,
          settings: SETTINGS,
        },
        null,
        2,
      ) + '\n';
  }
  return artefacts;
}

function main(args) {
  if (args.some((arg) => arg !== '--check')) {
    console.error('usage: compile.js [--check]');
    process.exit(2);
  }
  const artefacts = compile(loadCompiler());
  if (!args.length) {
    for (const [file, content] of Object.entries(artefacts)) {
      fs.writeFileSync(path.join(__dirname, file), content);
      console.log(`wrote ${file}`);
    }
    return;
  }
  let wrong = 0;
  for (const [file, content] of Object.entries(artefacts)) {
    const target = path.join(__dirname, file);
    if (!fs.existsSync(target)) {
      console.error(`${file}: missing`);
      wrong++;
    } else if (fs.readFileSync(target, 'utf8') !== content) {
      console.error(`${file}: differs from what its source compiles to`);
      wrong++;
    }
  }
  for (const file of fs.readdirSync(__dirname)) {
    if (file.endsWith('.json') && !(file in artefacts)) {
      console.error(`${file}: has no source`);
      wrong++;
    }
  }
  if (wrong) {
    console.error('run: node payments/onchain/contracts/compile.js');
    process.exit(1);
  }
}

main(process.argv.slice(2));
