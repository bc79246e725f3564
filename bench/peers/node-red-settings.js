// Node-RED without its editor: the flow, and the one library that it needs.
module.exports = {
    uiHost: '127.0.0.1',
    uiPort: Number(process.env.PORT),
    httpAdminRoot: false,
    flowFile: 'flows.json',
    credentialSecret: false,
    functionGlobalContext: {crypto: require('crypto')},
    logging: {console: {level: 'error', metrics: false, audit: false}},
};
