// The worker of discoformer is a module.
export default { worker: { format: "es" }, optimizeDeps: { exclude: ["discoformer"] } };
