// The part of GET /metrics that says how often ports were used: by the sizes of the files of snippets/counts.conf. An nginx that does
// not count has none of them. Written for njs 0.7.9 and later.
import fs from 'fs';

const NAME = 'nginx_sandbox_nginx_port_uses_total';

function sample(kind) {
    try {
        return `${NAME}{class="${kind}"} ${fs.statSync(`/run/nginx-sandbox/nginx/count-${kind}`).size}\n`;
    } catch (e) {
        return '';
    }
}

function write(r) {
    const samples = ['http', 'websocket', 'tcp'].map(sample).join('');
    const head = `# HELP ${NAME} Requests and connections to ports that have ended.\n# TYPE ${NAME} counter\n`;
    r.return(200, samples === '' ? '' : head + samples);
}

export default { write };
